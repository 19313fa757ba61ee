"""Draws follow the distribution that temperature, top_k and top_p define."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.serve.sampling import Rows, draw

DRAW = jax.jit(draw)
LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.07, 0.03], np.float32))
ROWS = 4000


def rows(n=ROWS, *, temperature=1.0, top_k=0, top_p=1.0, seed=None, count=0, report=False):
    full = lambda value, kind: np.full(n, value, kind)            # noqa: E731
    return Rows(full(0, np.int32), full(0, np.int32), full(temperature, np.float32),
                full(top_k, np.int32), full(top_p, np.float32),
                np.arange(n, dtype=np.uint32) if seed is None else full(seed, np.uint32),
                full(count, np.int32), full(report, bool))


def frequencies(**settings):
    drawn = DRAW(jnp.broadcast_to(LOGITS, (ROWS, 5)), rows(**settings))
    return np.bincount(drawn.token, minlength=5) / ROWS


def expected(temperature=1.0, top_k=0, top_p=1.0):
    """Return the distribution by definition: the probabilities are given in falling order."""
    p = np.exp(LOGITS / temperature)
    p[top_k or 5:] = 0
    p /= p.sum()
    kept = np.concatenate([[0], np.cumsum(p)[:-1]]) < top_p
    return p * kept / (p * kept).sum()


@pytest.mark.parametrize("settings", [
    {}, {"temperature": 0.5}, {"temperature": 1.7}, {"top_k": 2}, {"top_p": 0.7}, {"top_p": 0.76},
    {"top_k": 3, "top_p": 0.6, "temperature": 1.3}])
def test_draws_follow_the_definition(settings):
    found, right = frequencies(**settings), expected(**settings)
    assert np.abs(found - right).max() < 5 * np.sqrt(0.25 / ROWS)
    assert (found[right == 0] == 0).all()


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.0}])
def test_limits_are_greedy(settings):
    assert frequencies(**settings)[0] == 1.0


def test_draw_depends_on_seed_and_count_only():
    logits = jax.random.normal(jax.random.key(0), (6, 50))
    one = DRAW(logits[:1], rows(1, seed=5, count=3)).token[0]
    mixed = rows(6, seed=9)
    mixed.seed[2], mixed.count[2] = 5, 3
    assert DRAW(logits[jnp.array([3, 4, 0, 1, 2, 5])], mixed).token[2] == one
    draws = [int(DRAW(logits[:1], rows(1, seed=5, count=n)).token[0]) for n in range(12)]
    assert len(set(draws)) > 3


def test_log_probabilities_are_those_of_the_model_at_temperature_one():
    out = DRAW(jnp.broadcast_to(LOGITS + 3, (2, 5)), rows(2, temperature=0.1, report=True))
    np.testing.assert_allclose(out.logprob, LOGITS[out.token], rtol=1e-5)
    np.testing.assert_array_equal(out.top_tokens[0], np.arange(5))
    np.testing.assert_allclose(out.top_logprobs[0], LOGITS, rtol=1e-5)
