"""Guess several next tokens cheaply, have the model judge them in one pass, keep what it agrees to.

Guesses are what followed the text's last words when they came before (`propose_ngram`; prompt
lookup, Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding), or what a smaller model
would write (serve/draft.py).

`agree` keeps the distribution exactly that of decoding one by one: each token is drawn as it would
be without guesses, by its own seed and count; guesses are kept while they are those tokens. The
text is the same, token for token, whatever was guessed, greedy or drawn: what the server promises.
Daliri et al. 2024, https://arxiv.org/abs/2408.07978. Leviathan et al. 2023,
https://arxiv.org/abs/2211.17192 (algorithm 1) keep a little more of a draft model's guesses, but
then the text depends on what was guessed.

A row with a grammar has one mask, of its next token: it must have no guesses.
Shapes: B rows, G guesses, V vocabulary; of a row's guesses only the first `guessed` count.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.serve.rows import Rows, advance
from ssljax.serve.sampling import Drawn, draw

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


def first_false(right: jax.Array) -> jax.Array:
    """Return how many of bool [G, B] hold from the start, i32 [B]."""
    return jnp.cumprod(right.astype(jnp.int32), axis=0).sum(axis=0)


def on_device(rows: Rows) -> Rows:
    """Return rows whose every field a loop can carry."""
    return jax.tree.map(jnp.asarray, rows)
