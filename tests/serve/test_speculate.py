"""Guessing changes no token and no distribution, only how many come at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from ssljax.serve.jobs import Job, Sampling
from ssljax.serve.rows import Rows, make_row
from ssljax.serve.sampling import draw
from ssljax.serve.speculate import accept, agree, probabilities, propose_ngram

V, G, CONTEXT = 5, 3, 16
ROWS = 6000                      # in every test: another number would compile everything again
ACCEPT, AGREE, DRAW = jax.jit(accept), jax.jit(agree), jax.jit(draw)
# A Markov chain: the model's logits depend on the last token alone.
MODEL = np.random.default_rng(1).normal(0, 1.5, (V, V)).astype(np.float32)
DRAFT = (MODEL + np.random.default_rng(2).normal(0, 1.0, (V, V))).astype(np.float32)


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


@pytest.mark.slow
def test_accepting_is_greedy_where_the_temperature_is_zero():
    rows = rows_of(temperature=0.0)
    guesses, proposed = drafted(rows, np.random.default_rng(3))
    tokens, accepted = ACCEPT(logits_after(rows, guesses), guesses, np.full(ROWS, G, np.int32),
                              proposed, rows)
    right = one_by_one(rows, G + 1)
    read = np.arange(G + 1) <= np.asarray(accepted)[:, None]
    np.testing.assert_array_equal(np.asarray(tokens)[read], right[read])
    assert 0 < np.mean(accepted) < G


def drafted(rows, chance):
    """Return guesses [B, G] drawn from the draft model, and what they were drawn from."""
    token, guesses, proposed = rows.token, [], []
    for _ in range(G):
        q = np.exp(DRAFT[token])
        q /= q.sum(axis=1, keepdims=True)
        token = (q.cumsum(axis=1) < chance.random((len(q), 1))).sum(axis=1).clip(max=V - 1)
        guesses.append(token.astype(np.int32))
        proposed.append(q.astype(np.float32))
    return np.stack(guesses, axis=1), np.stack(proposed, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [
    {}, {"temperature": 0.6}, {"top_k": 3}, {"top_p": 0.8}, {"min_p": 0.15}])
@pytest.mark.parametrize("guessed", [G, 1])
def test_accepting_is_exact_in_distribution(settings, guessed):
    """Pairs of next tokens have the model's joint distribution, by chi-square."""
    rows = rows_of(**settings)
    guesses, proposed = drafted(rows, np.random.default_rng(4))
    tokens, accepted = ACCEPT(logits_after(rows, guesses), guesses,
                              np.full(ROWS, guessed, np.int32), proposed, rows)
    tokens, accepted = np.asarray(tokens), np.asarray(accepted)
    p = np.asarray(probabilities(jnp.asarray(MODEL), Rows(*(x[:V] for x in rows))),
                   np.float64)                       # p[i]: after token i
    first = np.bincount(tokens[:, 0], minlength=V)
    assert_follows(first, p[3])
    # The second token of those rows where it is already there, given the first and that it is.
    for token in range(V):
        mine = tokens[(accepted >= 1) & (tokens[:, 0] == token), 1]
        if len(mine) > 200:
            assert_follows(np.bincount(mine, minlength=V), p[token])
    assert accepted.max() == guessed


def assert_follows(counts, p):
    """Assert that counts are draws from p, at a level that one right test in 10,000 fails."""
    assert not counts[p == 0].any()
    expected = counts.sum() * p[p > 0] / p.sum()
    statistic = ((counts[p > 0] - expected) ** 2 / expected).sum()
    assert statistic <= chi2.ppf(1 - 1e-4, max(1, (p > 0).sum() - 1))


@pytest.mark.slow
def test_accepting_keeps_as_many_guesses_as_the_distributions_overlap():
    rows = rows_of()
    guesses, proposed = drafted(rows, np.random.default_rng(5))
    _, accepted = ACCEPT(logits_after(rows, guesses), guesses, np.ones(ROWS, np.int32), proposed,
                         rows)
    p = np.exp(MODEL[3]) / np.exp(MODEL[3]).sum()
    overlap = np.minimum(p, proposed[0, 0]).sum()            # Leviathan et al., theorem 3.5
    assert abs(np.mean(accepted) - overlap) < 5 * np.sqrt(0.25 / ROWS)
