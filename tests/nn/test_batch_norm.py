"""Batch norm: an equation, running statistics, and one batch whatever the devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.nn.batch_norm import STATS, BatchNorm, batch_norm, initial_stats

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, size=(16, 5, 4)).astype(np.float32)
SCALE, BIAS = RNG.normal(size=(2, 4)).astype(np.float32)
STATISTICS = {"mean": jnp.arange(4.0), "variance": 1 + jnp.arange(4.0)}


def test_training_normalises_by_the_batch():
    rows = X.reshape(-1, 4).astype(np.float64)
    expected = (X - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5) * SCALE + BIAS
    y, _ = batch_norm(jnp.asarray(X), STATISTICS, SCALE, BIAS, train=True)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_running_statistics_move_by_a_tenth():
    rows = X.reshape(-1, 4).astype(np.float64)
    _, stats = batch_norm(jnp.asarray(X), STATISTICS, None, None, train=True)
    np.testing.assert_allclose(stats["mean"], 0.9 * np.arange(4) + 0.1 * rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(stats["variance"],
                               0.9 * (1 + np.arange(4)) + 0.1 * rows.var(0, ddof=1), rtol=1e-5)


def test_evaluation_uses_and_keeps_running_statistics():
    y, stats = batch_norm(jnp.asarray(X), STATISTICS, SCALE, BIAS, train=False)
    expected = (X - np.arange(4)) / np.sqrt(1 + np.arange(4) + 1e-5) * SCALE + BIAS
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert stats == STATISTICS


def test_a_far_mean_costs_no_precision():
    near, _ = batch_norm(jnp.asarray(X), initial_stats(4), None, None, train=True)
    far, _ = batch_norm(jnp.asarray(X + 1024), initial_stats(4), None, None, train=True)
    np.testing.assert_allclose(far, near, atol=2e-4)


def test_statistics_are_float32_and_the_result_keeps_its_dtype():
    y, stats = batch_norm(jnp.asarray(X, jnp.bfloat16), initial_stats(4), SCALE, BIAS, train=True)
    assert y.dtype == jnp.bfloat16
    assert {s.dtype for s in stats.values()} == {jnp.dtype("float32")}
    half = X.astype(jnp.bfloat16).astype(np.float64).reshape(-1, 4)
    np.testing.assert_allclose(stats["mean"], 0.1 * half.mean(0), rtol=1e-5)


def test_running_statistics_carry_no_gradient():
    def moved(x):
        return sum(map(jnp.sum, batch_norm(x, STATISTICS, None, None, train=True)[1].values()))

    assert not np.any(jax.grad(moved)(jnp.asarray(X)))


def gradients(x, scale, bias):
    """Return what is computed, the new statistics, and gradients by x and scale."""
    def loss(x, scale):
        y, stats = batch_norm(x, STATISTICS, scale, bias, train=True)
        return jnp.sum(jnp.sin(y)), (y, stats)

    grads, (y, stats) = jax.grad(loss, (0, 1), has_aux=True)(x, scale)
    return y, stats, grads


@functools.cache
def alone():
    return jax.jit(gradients)(X, SCALE, BIAS)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("sizes", [{"data": 4, "fsdp": 2}, {"data": 4, "tensor": 2}], ids=str)
def test_eight_devices_see_one_batch(kind, sizes):
    mesh = sharding.make_mesh(sizes, kind)
    with sharding.use_mesh(mesh):
        x = sharding.place_batch(mesh, X)
        # Hidden units over tensor, as in a projection head.
        run = jax.jit(lambda x: gradients(sharding.shard(x, sharding.BATCH, None, "tensor"),
                                          SCALE, BIAS))
        for a, b in zip(jax.tree.leaves(run(x)), jax.tree.leaves(alone()), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_the_module_returns_its_statistics():
    module = BatchNorm(scale=0.5)
    variables = module.init(jax.random.key(0), jnp.asarray(X), train=True)
    np.testing.assert_array_equal(variables[STATS]["mean"], 0)
    y, moved = module.apply(variables, jnp.asarray(X), train=True, mutable=[STATS])
    expected, stats = batch_norm(jnp.asarray(X), initial_stats(4), 0.5 * jnp.ones(4), None,
                                 train=True)
    np.testing.assert_array_equal(y, expected)
    jax.tree.map(np.testing.assert_array_equal, moved[STATS], stats)
    later = module.apply({**variables, **moved}, jnp.asarray(X), train=False)
    assert np.abs(later - y).max() > 0.1


def test_one_row_cannot_be_normalised():
    with pytest.raises(ConfigError, match=r"shape \(1, 4\) sees 1 value a channel"):
        batch_norm(jnp.ones((1, 4)), initial_stats(4), None, None, train=True)
