"""Guessing changes no token, only how many come at once."""

import jax
import numpy as np
import pytest

from ssljax.serve.jobs import Job, Sampling
from ssljax.serve.rows import Rows, make_row
from ssljax.serve.sampling import draw
from ssljax.serve.speculate import agree, propose_ngram

V, G, CONTEXT = 5, 3, 16
ROWS = 6000                      # in every test: another number would compile everything again
AGREE, DRAW = jax.jit(agree), jax.jit(draw)
# A Markov chain: the model's logits depend on the last token alone.
MODEL = np.random.default_rng(1).normal(0, 1.5, (V, V)).astype(np.float32)


def rows_of(**settings):
    """Return rows of one job, each with a seed of its own."""
    one = make_row(Job((0, 3), "", 9, Sampling(**settings)), vocab=V, context=CONTEXT)
    rows = Rows(*(np.repeat(x, ROWS, axis=0) for x in one))
    return rows._replace(seed=np.arange(ROWS, dtype=np.uint32))


def logits_after(rows, guesses):
    """Return the model's logits [B, G + 1, V] after the last token and after each guess."""
    return MODEL[np.concatenate([rows.token[:, None], guesses], axis=1)]


def one_by_one(rows, steps):
    """Return the tokens [B, steps] that plain decoding draws."""
    found = []
    for _ in range(steps):
        drawn = DRAW(MODEL[rows.token], rows)
        found.append(np.asarray(drawn.token))
        history = rows.history.copy()
        history[np.arange(len(history)), rows.prompt_length + rows.count] = found[-1]
        rows = rows._replace(token=found[-1], count=rows.count + 1, history=history)
    return np.stack(found, axis=1)


def test_lookup_guesses_what_followed_the_longest_latest_match():
    assert propose_ngram([1, 2, 3, 9, 1, 2, 3, 7, 8, 1, 2, 3], 2) == [7, 8]
    assert propose_ngram([5, 2, 6, 1, 2, 9, 5, 2], 3) == [6, 1, 2]
    assert propose_ngram([1, 1, 1], 4) == [1]
    assert propose_ngram([1, 2, 3], 4) == () == propose_ngram([4], 4)
    assert propose_ngram([1, 2, 1, 3, 1], 2, shortest=2) == ()


@pytest.mark.parametrize("settings", [
    {"temperature": 0.0}, {}, {"temperature": 0.7, "top_k": 3, "presence": 0.5},
    {"temperature": 0.0, "frequency": 1.0, "repetition": 1.3}])
def test_agreeing_gives_the_tokens_of_plain_decoding_whatever_is_guessed(settings):
    rows, steps = rows_of(**settings), G + 1
    right = one_by_one(rows, steps)
    chance = np.random.default_rng(0)
    wrong_at = chance.integers(0, G + 1, ROWS)       # guesses are right up to there
    guesses = np.where(np.arange(G) < wrong_at[:, None], right[:, :G], (right[:, :G] + 1) % V)
    guessed = chance.integers(0, G + 1, ROWS).astype(np.int32)
    found = AGREE(logits_after(rows, guesses), guesses.astype(np.int32), guessed, rows)
    np.testing.assert_array_equal(found.accepted, np.minimum(wrong_at, guessed))
    read = np.arange(steps) <= np.asarray(found.accepted)[:, None]
    np.testing.assert_array_equal(np.asarray(found.drawn.token).T[read], right[read])
