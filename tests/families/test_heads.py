"""Heads against NumPy, and where they have weights and statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.core.tree import named_leaves
from ssljax.families.heads import mlp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 5)) * 3 + 1


def normalised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def test_batch_norm_between_layers_and_a_plain_one_at_the_end_as_in_numpy():
    head = mlp((7, 6, 4), last_norm="plain")
    params, stats = head.init(jax.random.key(0), 5)
    y, moved = head.apply(params, stats, jnp.asarray(X, jnp.float32), train=True)
    w = {name: np.asarray(leaf, np.float64) for name, leaf in named_leaves(params).items()}
    h = np.maximum(normalised(X @ w["layer0/w_head_up"]), 0)
    h = np.maximum(normalised(h @ w["layer1/w_head_down"]), 0)
    np.testing.assert_allclose(y, normalised(h @ w["layer2/w_head_up"]), rtol=1e-3, atol=1e-4)
    expected = 0.1 * (X @ w["layer0/w_head_up"]).mean(0)
    np.testing.assert_allclose(moved["layer0"]["mean"], expected, rtol=1e-4, atol=1e-6)


def test_evaluation_reads_the_statistics_and_moves_nothing():
    head = mlp((6, 4), last_norm="batch")
    params, stats = head.init(jax.random.key(0), 5)
    x = jnp.asarray(X, jnp.float32)
    _, moved = head.apply(params, stats, x, train=True)
    y, same = head.apply(params, moved, x, train=False)
    one, _ = head.apply(params, moved, x[:1], train=False)
    np.testing.assert_allclose(y[:1], one, rtol=1e-5, atol=1e-6)
    assert all(map(np.array_equal, jax.tree.leaves(moved), jax.tree.leaves(same)))


def test_without_norms_it_is_two_products_with_biases():
    head = mlp((6, 4), norm="none", activation="gelu")
    params, stats = head.init(jax.random.key(0), 5)
    assert stats == {}
    params = jax.tree.map(lambda p: p + 0.1, params)
    w = named_leaves(params)
    x = jnp.asarray(X, jnp.float32)
    expected = jax.nn.gelu(x @ w["layer0/w_head_up"] + w["layer0/bias"])
    expected = expected @ w["layer1/w_head_down"] + w["layer1/bias"]
    np.testing.assert_allclose(head.apply(params, {}, x, train=True)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("bias", ["auto", "all", "none"])
def test_biases_stand_where_they_are_told(bias):
    params, _ = mlp((6, 4), bias=bias).init(jax.random.key(0), 5)
    found = {name for name in named_leaves(params) if name.count("/") == 1 and "bias" in name}
    assert found == {"auto": {"layer1/bias"}, "all": {"layer0/bias", "layer1/bias"},
                     "none": set()}[bias]


def test_layer_norm_gives_rows_of_mean_zero_whatever_the_batch():
    head = mlp((8, 4), norm="layer", last_norm="none", bias="none")
    params, stats = head.init(jax.random.key(0), 5)
    x = jnp.asarray(X, jnp.float32)
    whole, _ = head.apply(params, stats, x, train=True)
    np.testing.assert_allclose(head.apply(params, stats, x[3:4], train=True)[0], whole[3:4],
                               rtol=1e-5, atol=1e-6)
    scaled, _ = head.apply(params, stats, 7 * x, train=True)
    np.testing.assert_allclose(scaled, whole, rtol=1e-3, atol=1e-4)


def test_tokens_are_rows():
    head = mlp((6, 4), norm="none")
    params, stats = head.init(jax.random.key(0), 5)
    tokens = jnp.asarray(X.reshape(3, 4, 5), jnp.float32)
    y, _ = head.apply(params, stats, tokens, train=True)
    flat, _ = head.apply(params, stats, tokens.reshape(12, 5), train=True)
    np.testing.assert_allclose(y.reshape(12, 4), flat, rtol=1e-6)


def test_no_layers_change_nothing_and_no_units_are_refused():
    params, stats = mlp(()).init(jax.random.key(0), 5)
    x = jnp.asarray(X)
    assert mlp(()).apply(params, stats, x, train=True)[0] is x
    with pytest.raises(ConfigError, match="at least one unit"):
        mlp((8, 0))
