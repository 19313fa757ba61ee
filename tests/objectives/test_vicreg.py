"""VICReg against its equations, term by term."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.objectives import vicreg
from tests.objectives import crop_network, slopes

RNG = np.random.default_rng(0)
Z1 = 0.6 * RNG.normal(size=(9, 4)) + 2
Z2 = Z1 + 0.4 * RNG.normal(size=(9, 4))


def reference(z1: np.ndarray, z2: np.ndarray, pair: float = 1.0) -> float:
    """Equation 6 with 25, 25, 1, by loops; variances and covariances over n - 1."""
    n, width = z1.shape
    total = 25 * sum((z1[k, j] - z2[k, j]) ** 2 for k in range(n) for j in range(width)) / z1.size
    for z in (z1, z2):
        mean = [sum(z[:, j]) / n for j in range(width)]
        cov = [[sum((z[k, i] - mean[i]) * (z[k, j] - mean[j]) for k in range(n)) / (n - 1)
                for j in range(width)] for i in range(width)]
        for i in range(width):
            total += pair * 25 * max(0, 1 - np.sqrt(cov[i][i] + 1e-4)) / width
            total += sum(cov[i][j] ** 2 for j in range(width) if j != i) / width
    return total


def loss(z1: jax.Array, z2: jax.Array, pair: str = "sum") -> jax.Array:
    t = vicreg.terms(z1, z2, pair)
    return 25 * t.invariance + 25 * t.variance + t.covariance


@pytest.mark.parametrize(("pair", "factor"), [("sum", 1.0), ("mean", 0.5)])
def test_value_and_gradient_equal_the_loop(pair, factor):
    slopes.check(lambda a, b: loss(a, b, pair), lambda a, b: reference(a, b, factor), Z1, Z2)


def test_does_not_see_which_view_is_first_nor_the_order_of_images():
    order, value = RNG.permutation(9), float(loss(jnp.asarray(Z1), jnp.asarray(Z2)))
    assert float(loss(jnp.asarray(Z2), jnp.asarray(Z1))) == pytest.approx(value, rel=1e-5)
    assert float(loss(jnp.asarray(Z1[order]), jnp.asarray(Z2[order]))) == pytest.approx(
        value, rel=1e-5)


def test_does_not_see_a_shift_of_both_views():
    shifted = loss(jnp.asarray(Z1 + 3), jnp.asarray(Z2 + 3))
    assert float(shifted) == pytest.approx(float(loss(jnp.asarray(Z1), jnp.asarray(Z2))), rel=1e-4)


def test_a_collapse_pays_the_hinge_and_wide_independent_coordinates_pay_nothing():
    same = jnp.ones((6, 4))
    assert float(loss(same, same)) == pytest.approx(25 * 2 * (1 - 0.01), rel=1e-4)
    signs = 2 * jnp.asarray([[a, b] for a in (-1.0, 1) for b in (-1.0, 1)])
    assert float(loss(signs, signs)) == pytest.approx(0, abs=1e-6)


def test_weights_of_terms_reach_the_loss():
    views = {n: x for n, x in crop_network.batch(6).items() if n.startswith("view")}
    objective = vicreg.make(crop_network.make(), invariance=2.0, variance=3.0, covariance=5.0,
                            **vicreg.TINY)
    params, extra = jax.jit(objective.init)(jax.random.key(0), views)
    total, (weight, _, metrics) = jax.jit(objective.loss)(params, extra, views, jax.random.key(1))
    parts = [float(metrics[n][0]) for n in ("invariance", "variance", "covariance")]
    assert float(total) == pytest.approx(np.dot(parts, [2, 3, 5]), rel=1e-5)
    assert weight == 6
    assert objective.encoder(params, extra)[0] is params["encoder"]
