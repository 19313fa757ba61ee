"""A smaller model guesses the next tokens of every slot; the model that is served judges them.

Leviathan et al. 2023, https://arxiv.org/abs/2211.17192; Chen et al. 2023,
https://arxiv.org/abs/2302.01318. Only the judge decides (`agree` in serve/speculate.py), so tokens
and log probabilities have the same bits with any draft and with none.

The draft is a device like any other (serve/device.py) in the sizes of the model's. It keeps its
keys and values in pages of the same numbers, so whose a page is, and what the prefix cache holds,
is said once for both: a chunk is read by both or found by both. It draws each guess as the model
would draw that token, by the row's own settings, seed and count: the best one where the temperature
is 0, and otherwise by the same noise on nearly the same logits; guessing the best one there would
come true no more often than the model draws it.

What a rejected guess wrote is overwritten by the token that comes there, before any query looks.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ssljax.core.errors import ArtefactError, ServeError
from ssljax.serve.adapters import make_places
from ssljax.serve.artefact import Artefact
from ssljax.serve.device import Cache, Device, Steps, Turn, check_decoder, device_of


class Caches(NamedTuple):
    """Keys and values of the model and of its draft, in pages of the same numbers."""

    model: Cache
    draft: Cache


def with_draft(device: Device, artefact: Artefact, draft: Artefact) -> Device:
    """Return `device` with guesses by a draft instead of those that are looked up.

    Args:
        device: of the model, with room for guesses.
        artefact: the model.
        draft: the other one.

    Raises:
        ArtefactError: they have different tokenizers.
        ServeError: the draft is no decoder, or the device takes no guesses.
    """
    check_decoder(draft)
    check_tokenizers(artefact, draft)
    layout = device.layout
    if not layout.guesses:
        raise ServeError(f"{draft.path} is to draft for {artefact.path}, which takes 0 guesses; "
                         "give --guesses 4, say.")
    # One step more than guesses writes the last of them too: were all accepted, the next turn would
    # find its place empty.
    small = device_of(draft, layout._replace(guesses=0, steps=layout.guesses + 1),
                      make_places(draft))
    context = draft.manifest["max_context"]              # beyond, it has nothing to say

    def new_cache() -> Caches:
        return Caches(device.new_cache(), small.new_cache())

    def read(cache: Caches, tokens: Sequence[int], start: int, table: np.ndarray,
             place: int = 0) -> tuple[Caches, jax.Array]:
        drafts = cache.draft
        if start + len(tokens) <= context:
            drafts, _ = small.read(drafts, tokens, start, table)
        model, logits = device.read(cache.model, tokens, start, table, place)
        return Caches(model, drafts), logits

    def propose(cache: Caches, turn: Turn,
                most: np.ndarray) -> tuple[Caches, np.ndarray, np.ndarray]:
        room = np.clip(context - turn.rows.position, 0, most + 1)
        left = np.where(most > 0, room, 0).astype(np.int32)
        drafts, drawn = small.decode(cache.draft, for_draft(turn, left), layout.guesses + 1)
        tokens = tokens_of(drawn[:layout.guesses], len(left), layout.guesses)
        return (cache._replace(draft=drafts), tokens,
                np.minimum(np.minimum(most, left), up_to_end(tokens, turn.ends)))

    def warm_up() -> None:
        device.warm_up()
        small.warm_up()

    return device._replace(new_cache=new_cache, read=read, decode=of_model(device.decode),
                           propose=propose, verify=of_model(device.verify), warm_up=warm_up)


def check_tokenizers(artefact: Artefact, draft: Artefact) -> None:
    """Raise ArtefactError unless an id is the same token to both.

    Tables of token vectors may be padded differently: ids beyond the vocabulary are never drawn.
    """
    ours, its = ((one.tokenizer.fingerprint, one.tokenizer.vocab_size) for one in (artefact, draft))
    if ours != its:
        raise ArtefactError(
            f"{draft.path} cannot draft for {artefact.path}: its tokenizer has {its[1]} ids and "
            f"fingerprint {its[0][:12]}..., that of the model {ours[1]} and {ours[0][:12]}.... "
            "Take a draft that was trained with the same tokenizer.")


def of_model(call: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """Return a function of the model's cache as one of both caches."""
    def run(cache: Caches, *given: Any) -> tuple[Any, ...]:
        model, *found = call(cache.model, *given)
        return cache._replace(model=model), *found

    return run


def for_draft(turn: Turn, left: np.ndarray) -> Turn:
    """Return what the draft is to decode: `left` tokens a row, without adapters and reports."""
    rows = turn.rows._replace(adapter=np.zeros_like(turn.rows.adapter),
                              report=np.zeros_like(turn.rows.report))
    return turn._replace(rows=rows, left=left)


def tokens_of(drawn: Steps, rows: int, guesses: int) -> np.ndarray:
    """Return what was drawn as i32 [B, G]; 0 for steps that were not done."""
    tokens = np.zeros((rows, guesses), np.int32)
    for n, step in enumerate(drawn):
        tokens[:, n] = [scored.token for scored in step]
    return tokens


def up_to_end(tokens: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return how many of tokens i32 [B, G] come up to a row's first end, that one included."""
    ended = (tokens[:, :, None] == ends[:, None, :]).any(axis=2)
    return np.where(ended.any(axis=1), ended.argmax(axis=1) + 1, tokens.shape[1]).astype(np.int32)
