"""Sinkhorn's assignments against the loop of the paper, and what they may depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core import sharding
from ssljax.families.sinkhorn import sinkhorn

RNG = np.random.default_rng(0)
SCORES = RNG.uniform(-1, 1, size=(12, 5))


def reference(scores: np.ndarray, temperature: float, iterations: int = 3) -> np.ndarray:
    """Listing 1 of the paper in float64: rows of Q are prototypes."""
    q = np.exp(np.asarray(scores, np.float64) / temperature).T
    k, b = q.shape
    q /= q.sum()
    for _ in range(iterations):
        for i in range(k):
            q[i] = q[i] / q[i].sum() / k
        for j in range(b):
            q[:, j] = q[:, j] / q[:, j].sum() / b
    return (q * b).T


@pytest.mark.parametrize(("temperature", "iterations"), [(0.05, 3), (0.5, 1), (0.2, 50)])
def test_equals_the_loop_of_the_paper(temperature, iterations):
    with jax.enable_x64(True):
        q = sinkhorn(jnp.asarray(SCORES, jnp.float32), temperature=temperature,
                     iterations=iterations)
    np.testing.assert_allclose(q, reference(SCORES.astype(np.float32), temperature, iterations),
                               rtol=2e-5, atol=1e-8)


def test_rows_sum_to_one_and_prototypes_are_used_equally_in_the_limit():
    q = sinkhorn(jnp.asarray(SCORES), temperature=0.2, iterations=200)
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(q.sum(axis=0), 12 / 5, rtol=1e-4)


def test_collapsed_scores_are_spread_over_all_prototypes():
    same = jnp.asarray(np.tile([9.0, 0, 0, 0], (8, 1)))
    np.testing.assert_allclose(sinkhorn(same, temperature=0.04), 0.25, rtol=1e-5)


def test_rows_without_weight_change_nothing_for_the_others():
    weights = jnp.asarray(RNG.random(12) < 0.5)
    q = sinkhorn(jnp.asarray(SCORES), temperature=0.1, weights=weights)
    alone = sinkhorn(jnp.asarray(SCORES[np.asarray(weights)]), temperature=0.1)
    np.testing.assert_allclose(q[np.asarray(weights)], alone, rtol=1e-5)
    assert np.isfinite(q).all()
    nothing = sinkhorn(jnp.asarray(SCORES), temperature=0.1, weights=jnp.zeros(12))
    assert np.isfinite(nothing).all()


def test_tokens_are_rows_too():
    q = sinkhorn(jnp.asarray(SCORES).reshape(4, 3, 5), temperature=0.1)
    np.testing.assert_allclose(q.reshape(12, 5), sinkhorn(jnp.asarray(SCORES), temperature=0.1),
                               rtol=1e-5)


def test_no_temperature_underflows_and_no_gradient_flows():
    q = sinkhorn(jnp.asarray(50 * SCORES), temperature=0.01)
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)
    grad = jax.grad(lambda s: jnp.sum(sinkhorn(s, temperature=0.1)**2))(jnp.asarray(SCORES))
    assert np.abs(grad).max() == 0


def test_the_batch_is_global_on_a_mesh():
    scores = jnp.asarray(RNG.uniform(-1, 1, size=(16, 8)), jnp.float32)
    alone = sinkhorn(scores, temperature=0.05)
    with sharding.use_mesh(sharding.make_mesh({"data": 4, "tensor": 2})):
        laid = sharding.shard(scores, sharding.BATCH, "tensor")
        split = jax.jit(lambda s: sinkhorn(s, temperature=0.05))(laid)
    np.testing.assert_allclose(split, alone, rtol=2e-5, atol=1e-7)
