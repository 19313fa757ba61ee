"""Guess several next tokens cheaply, have the model judge them in one pass, keep what it agrees to.

Guesses are what followed the text's last words when they came before (`propose_ngram`; prompt
lookup, Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding), or what a smaller model
would write (serve/draft.py).

Two rules keep the distribution exactly that of decoding one by one:

    agree:  each token is drawn as it would be without guesses, by its own seed and count; guesses
            are kept while they are those tokens. The text is the same, token for token, whatever
            was guessed, greedy or drawn: what the server promises. Daliri et al. 2024,
            https://arxiv.org/abs/2408.07978. For guesses without probabilities, as of
            `propose_ngram`, it keeps as many as any rule can; a draft model that draws by the same
            seeds and counts, as ours does, agrees nearly as often as with the next rule.
    accept: Leviathan et al. 2023, https://arxiv.org/abs/2211.17192, algorithm 1: keeps the most
            guesses of a draft model, but the text depends on what was guessed.

A row with a grammar has one mask, of its next token: it must have no guesses.
Shapes: B rows, G guesses, V vocabulary; of a row's guesses only the first `guessed` count.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.serve.rows import Rows, advance
from ssljax.serve.sampling import Drawn, adjusted, best, draw, kept

LONGEST, SHORTEST = 4, 1         # tokens at the end of a text that are looked up, the longest first


class Verified(NamedTuple):
    """What a row's guesses came to.

    drawn: of G + 1 steps [G + 1, B, ...]; a row's first accepted + 1 are its next tokens
    accepted: i32 [B], guesses that were kept
    """

    drawn: Drawn
    accepted: jax.Array


def look_up(rows: Rows, most: np.ndarray, guesses: int) -> tuple[np.ndarray, np.ndarray]:
    """Guess the next tokens of every row from its own text.

    Args:
        rows: with their history, on the host.
        most: i32 [B], guesses at most.
        guesses: G, all that there is room for.

    Returns:
        Guesses i32 [B, G], and how many of each row count, i32 [B].
    """
    tokens, guessed = np.zeros((len(most), guesses), np.int32), np.zeros(len(most), np.int32)
    for row in np.flatnonzero(most > 0):
        text = rows.history[row, :rows.prompt_length[row] + rows.count[row]]
        found = propose_ngram(text, int(most[row]))
        tokens[row, :len(found)], guessed[row] = found, len(found)
    return tokens, guessed


def propose_ngram(text: Sequence[int], count: int, *, longest: int = LONGEST,
                  shortest: int = SHORTEST) -> Sequence[int]:
    """Guess what followed the last tokens when they came before, the longest and latest match.

    Args:
        text: ids so far.
        count: guesses at most.
        longest: tokens to look up first.
        shortest: and last.
    """
    ids = np.asarray(text, np.int64)
    for size in range(min(longest, len(ids) - 1), shortest - 1, -1):
        windows = np.lib.stride_tricks.sliding_window_view(ids[:-1], size)
        found = np.flatnonzero((windows == ids[-size:]).all(axis=1))
        if len(found):
            start = int(found[-1]) + size
            return ids[start:start + count].tolist()
    return ()


def agree(logits: jax.Array, guesses: jax.Array, guessed: jax.Array, rows: Rows) -> Verified:
    """Draw every token as without guesses; keep guesses while they are what is drawn.

    Args:
        logits: f32 [B, G + 1, V], the model's after the last token and after each guess.
        guesses: i32 [B, G].
        guessed: i32 [B].
        rows: before the first of these draws.
    """
    def step(rows: Rows, given: tuple[jax.Array, jax.Array]) -> tuple[Rows, Drawn]:
        drawn = draw(given[0], rows)
        # What comes next is drawn as if the guess were right; where it is not, nobody reads it.
        return advance(rows, given[1]), drawn

    padded = jnp.pad(guesses, ((0, 0), (0, 1)))
    _, drawn = jax.lax.scan(step, on_device(rows), (logits.swapaxes(0, 1), padded.T))
    right = (drawn.token[:-1] == guesses.T) & (jnp.arange(guesses.shape[1])[:, None] < guessed)
    return Verified(drawn, first_false(right))


def accept(logits: jax.Array, guesses: jax.Array, guessed: jax.Array, proposed: jax.Array,
           rows: Rows) -> tuple[jax.Array, jax.Array]:
    """Keep each guess with probability min(1, p / q), and draw one more from what q missed.

    Args:
        logits: as of `agree`.
        guesses: i32 [B, G].
        guessed: i32 [B].
        proposed: f32 [B, G, V], what the guesses were drawn from: q.
        rows: before the first of these draws.

    Returns:
        Tokens i32 [B, G + 1], of which the first accepted + 1 count, and accepted i32 [B].
    """
    def step(rows: Rows, given: tuple[jax.Array, jax.Array]) -> tuple[Rows, jax.Array]:
        return advance(rows, given[1]), probabilities(given[0], rows)

    padded = jnp.pad(guesses, ((0, 0), (0, 1)))
    _, wanted = jax.lax.scan(step, on_device(rows), (logits.swapaxes(0, 1), padded.T))
    wanted = wanted.swapaxes(0, 1)                                      # p: [B, G + 1, V]
    number = jnp.arange(guesses.shape[1])
    chance, rest = jax.vmap(keys_of, (0, 0, None))(rows.seed, rows.count, guesses.shape[1])
    uniform = jax.vmap(jax.vmap(jax.random.uniform))(chance)
    p = jnp.take_along_axis(wanted[:, :-1], guesses[..., None], axis=2)[..., 0]
    q = jnp.take_along_axis(proposed, guesses[..., None], axis=2)[..., 0]
    right = (uniform * q < p) & (number < guessed[:, None])
    accepted = first_false(right.T)
    # After the last guess there is no q: the one more is drawn from p itself.
    missed = jnp.pad(proposed, ((0, 0), (0, 1), (0, 0)))
    missed = jnp.where((jnp.arange(wanted.shape[1]) < guessed[:, None])[..., None], missed, 0.0)
    here = accepted[:, None, None]
    left = jnp.take_along_axis(jnp.maximum(wanted - missed, 0.0), here, axis=1)[:, 0]
    one_more = jax.vmap(jax.random.categorical)(rest, jnp.log(left)).astype(jnp.int32)
    at = jnp.arange(padded.shape[1]) == accepted[:, None]
    return jnp.where(at, one_more[:, None], padded), accepted


def keys_of(seed: jax.Array, count: jax.Array, guesses: int) -> tuple[jax.Array, jax.Array]:
    """Return keys [G] for keeping the guesses of a row, and one for the token after them."""
    chance, rest = jax.random.split(jax.random.fold_in(jax.random.key(seed), count))
    return jax.random.split(chance, guesses), rest


def probabilities(logits: jax.Array, rows: Rows) -> jax.Array:
    """Return what `draw` draws from, f32 [B, V]: all on the best token for a temperature of 0."""
    changed = adjusted(logits, rows)
    sure = jax.nn.one_hot(best(changed), logits.shape[-1])
    return jnp.where(rows.temperature[:, None] > 0, jax.nn.softmax(kept(changed, rows)), sure)


def first_false(right: jax.Array) -> jax.Array:
    """Return how many of bool [G, B] hold from the start, i32 [B]."""
    return jnp.cumprod(right.astype(jnp.int32), axis=0).sum(axis=0)


def on_device(rows: Rows) -> Rows:
    """Return rows whose every field a loop can carry."""
    return jax.tree.map(jnp.asarray, rows)
