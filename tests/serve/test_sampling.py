"""Draws follow their definitions, and no row's draw changes with what its neighbours ask for."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.serve.jobs import Job, Sampling
from ssljax.serve.rows import (
    Rows,
    idle_rows,
    make_row,
    write_allowed,
    write_idle,
    write_row,
    write_token,
)
from ssljax.serve.sampling import adjusted, draw, kept

DRAW, ADJUSTED, KEPT = jax.jit(draw), jax.jit(adjusted), jax.jit(kept)
LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.07, 0.03], np.float32))
# Two shapes in all tests, of ROWS and of FEW rows: another would compile everything again.
ROWS, FEW, VOCAB, CONTEXT = 4000, 5, 50, 12
STATES = np.random.default_rng(0)


def rows_of(*jobs, generated=(), vocab=VOCAB):
    """Return the rows of jobs after each got the tokens `generated`."""
    rows = idle_rows(len(jobs), vocab=vocab, context=CONTEXT)
    for slot, job in enumerate(jobs):
        write_row(rows, slot, make_row(job, vocab=vocab, context=CONTEXT))
        for token in generated:
            write_token(rows, slot, token)
    return rows


def job(*prompt, logprobs=None, **settings):
    return Job(prompt or (0,), "", 5, Sampling(**settings), logprobs=logprobs)


def frequencies(**settings):
    rows = rows_of(*[job(seed=seed, **settings) for seed in range(ROWS)], vocab=5)
    drawn = DRAW(jnp.broadcast_to(LOGITS, (ROWS, 5)), rows)
    return np.bincount(drawn.token, minlength=5) / ROWS


def expected(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """Return the distribution by definition: the probabilities are given in falling order."""
    p = np.exp(LOGITS / temperature)
    p[top_k or 5:] = 0
    p /= p.sum()
    p *= np.concatenate([[0], np.cumsum(p)[:-1]]) < top_p
    p *= p >= min_p * p.max()
    return p / p.sum()


@pytest.mark.parametrize("settings", [
    {}, {"temperature": 0.5}, {"temperature": 1.7}, {"top_k": 2}, {"top_p": 0.7}, {"top_p": 0.76},
    {"min_p": 0.2}, {"min_p": 0.4, "temperature": 2.0},
    {"top_k": 3, "top_p": 0.6, "temperature": 1.3}])
def test_draws_follow_the_definition(settings):
    found, right = frequencies(**settings), expected(**settings)
    assert np.abs(found - right).max() < 5 * np.sqrt(0.25 / ROWS)
    assert (found[right == 0] == 0).all()


@pytest.mark.parametrize("settings", [
    {"temperature": 0.0}, {"temperature": 1e-30}, {"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}])
def test_limits_are_greedy(settings):
    assert frequencies(**settings)[0] == 1.0


@pytest.mark.parametrize("top_k, top_p, min_p", [
    *itertools.product((0, 1, 7, 49, 50, 99), (0.0, 0.3, 0.9, 1.0), (0.0, 0.05))])
def test_cuts_keep_what_a_sort_keeps(top_k, top_p, min_p):
    logits = STATES.normal(0, 3, (FEW, VOCAB)).astype(np.float32)
    found = KEPT(logits, rows_of(*[job(top_k=top_k, top_p=top_p, min_p=min_p)] * FEW)) > -np.inf
    for row, mine in zip(logits, found, strict=True):
        order = np.argsort(-row)
        p = np.exp(row - row.max())[order].astype(np.float64)
        p[top_k or VOCAB:] = 0
        before = np.cumsum(p / p.sum()) - p / p.sum()
        keep = (p > 0) & ((before < top_p) | (np.arange(VOCAB) == 0)) & (p >= min_p * p[0])
        assert set(np.flatnonzero(mine)) == set(order[keep])


def penalised(logits, prompt, generated, presence, frequency, repetition):
    """Return logits by OpenAI's and Hugging Face's definitions; prompt[0] starts every text."""
    logits = logits.copy()
    for j in {*prompt[1:], *generated}:
        logits[j] = logits[j] / repetition if logits[j] > 0 else logits[j] * repetition
    for j in set(generated):
        c = generated.count(j)
        logits[j] = logits[j] - c * frequency - float(c > 0) * presence
    return logits


@pytest.mark.parametrize("presence, frequency, repetition", [
    (0.7, 0, 1), (0, 0.9, 1), (-1.5, -0.4, 1), (0, 0, 1.8), (0, 0, 0.5), (1.1, 0.3, 1.3)])
def test_penalties_count_as_defined(presence, frequency, repetition):
    prompt, generated = (49, 3, 3, 7, 11), [7, 8, 8, 8, 49]
    settings = {"presence": presence, "frequency": frequency, "repetition": repetition}
    logits = STATES.normal(0, 2, (FEW, VOCAB)).astype(np.float32)
    found = ADJUSTED(logits, rows_of(*[job(*prompt, **settings)] * FEW, generated=generated))
    right = [penalised(row, prompt, generated, **settings) for row in logits]
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


def test_bias_is_added_and_the_mask_forbids():
    logits = STATES.normal(0, 2, (FEW, VOCAB)).astype(np.float32)
    rows = rows_of(job(bias=((3, 2.5), (49, -100.0))), *[job()] * (FEW - 1))
    allowed = np.zeros(2, np.uint32)
    for token in (0, 31, 32, 40):
        allowed[token // 32] |= np.uint32(1 << token % 32)
    write_allowed(rows, 1, allowed)
    found, right = ADJUSTED(logits, rows), logits.copy()
    right[0, [3, 49]] += [2.5, -100]
    right[1, [i for i in range(VOCAB) if i not in (0, 31, 32, 40)]] = -np.inf
    np.testing.assert_array_equal(found, right)


SETTINGS = [
    {}, {"temperature": 0.0}, {"top_k": 9}, {"top_p": 0.8}, {"min_p": 0.1}, {"presence": 1.0},
    {"frequency": -0.5}, {"repetition": 1.4}, {"bias": ((4, 9.0), (5, -3.0))},
    {"temperature": 0.6, "top_k": 20, "top_p": 0.9, "repetition": 1.2, "bias": ((1, 1.0),)},
    {"temperature": 0.0, "presence": 2.0}]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_row_draws_bit_for_bit_the_same_whatever_its_neighbours_ask(settings):
    """Every conditional is taken for one neighbour and not for another."""
    logits = np.asarray(jax.random.normal(jax.random.key(1), (FEW, VOCAB)) * 3)
    mine = job(49, 2, 3, seed=5, logprobs=2, **settings)
    seen = set()
    for other, report, masked in itertools.product(SETTINGS, (None, 3), (False, True)):
        rows = rows_of(*[job(49, 9, seed=8, logprobs=report, **other)] * FEW, generated=(7, 7, 4))
        write_row(rows, 2, make_row(mine, vocab=VOCAB, context=CONTEXT))
        write_token(rows, 2, 6)
        if masked:
            write_allowed(rows, 0, np.full(2, 0x5555, np.uint32))
        drawn, changed = DRAW(logits, rows), KEPT(ADJUSTED(logits, rows), rows)
        seen.add(b"".join(np.asarray(x[2]).tobytes() for x in (*drawn, changed)))
    assert len(seen) == 1


def test_draw_depends_on_seed_and_count_only():
    logits = np.asarray(jax.random.normal(jax.random.key(0), (FEW, VOCAB)))
    rows = rows_of(*[job(seed=5)] * FEW, generated=(1, 2, 3))
    token = DRAW(logits, rows).token[0]
    mixed = rows_of(*[job(seed=9)] * FEW)
    write_row(mixed, 2, Rows(*(x[:1] for x in rows)))
    assert DRAW(logits[[3, 4, 0, 1, 2]], mixed).token[2] == token
    draws = [int(DRAW(logits, rows_of(*[job(seed=5)] * FEW, generated=[1] * n)).token[0])
             for n in range(11)]
    assert len(set(draws)) > 3


def test_log_probabilities_are_those_of_the_model_before_any_setting():
    asked = job(temperature=0.1, logprobs=5, bias=((4, 50.0),))
    out = DRAW(jnp.broadcast_to(LOGITS + 3, (ROWS, 5)), rows_of(*[asked] * ROWS, vocab=5))
    assert (out.token == 4).all()
    np.testing.assert_allclose(out.logprob, LOGITS[out.token], rtol=1e-5)
    np.testing.assert_array_equal(out.top_tokens[0], np.arange(5))
    np.testing.assert_allclose(out.top_logprobs[0], LOGITS, rtol=1e-5)


def test_a_row_that_was_left_is_idle_again():
    rows = rows_of(job(1, 2, presence=1.0, bias=((3, 1.0),), logprobs=1), job(1))
    write_allowed(rows, 0, np.ones(2, np.uint32))
    write_idle(rows, [0, 1])
    for found, right in zip(rows, idle_rows(2, vocab=VOCAB, context=CONTEXT), strict=True):
        np.testing.assert_array_equal(found, right)
