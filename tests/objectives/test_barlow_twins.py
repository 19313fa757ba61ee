"""Barlow Twins against equation 1, and the affine maps it cannot see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.objectives import barlow_twins
from tests.objectives import crop_network, slopes

RNG = np.random.default_rng(0)
Z1 = RNG.normal(size=(9, 4))
Z2 = Z1 + 0.5 * RNG.normal(size=(9, 4))
LAMBDA = 0.0051


def reference(z1: np.ndarray, z2: np.ndarray) -> float:
    """Equation 1 by loops, with batch norm's epsilon."""
    n, width = z1.shape
    a, b = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (z1, z2))
    total = 0.0
    for i in range(width):
        for j in range(width):
            c = sum(a[k, i] * b[k, j] for k in range(n)) / n
            total += (1 - c) ** 2 if i == j else LAMBDA * c**2
    return total


def value(z1: np.ndarray, z2: np.ndarray) -> float:
    return float(barlow_twins.redundancy(jnp.asarray(z1), jnp.asarray(z2), LAMBDA)[0])


def test_value_and_gradient_equal_the_loop():
    slopes.check(lambda a, b: barlow_twins.redundancy(a, b, LAMBDA)[0], reference, Z1, Z2)


def test_does_not_see_shifts_and_positive_scales_of_coordinates():
    scale, shift = RNG.uniform(0.7, 20, size=4), RNG.normal(size=4) * 5
    assert value(Z1 * scale + shift, Z2 * scale[::-1] - shift) == pytest.approx(
        value(Z1, Z2), rel=1e-3)


def test_does_not_see_the_order_of_images_views_or_coordinates_but_sees_pairs():
    rows, columns = RNG.permutation(9), RNG.permutation(4)
    assert value(Z1[rows], Z2[rows]) == pytest.approx(value(Z1, Z2), rel=1e-5)
    assert value(Z1[:, columns], Z2[:, columns]) == pytest.approx(value(Z1, Z2), rel=1e-5)
    assert value(Z2, Z1) == pytest.approx(value(Z1, Z2), rel=1e-5)
    assert value(Z1, Z2[::-1]) > value(Z1, Z2) + 0.1


def test_equal_views_of_independent_coordinates_cost_nothing_and_a_collapse_costs_its_width():
    signs = np.array([[a, b] for a in (-1.0, 1) for b in (-1.0, 1)])
    loss, agreement = barlow_twins.redundancy(jnp.asarray(signs), jnp.asarray(signs), LAMBDA)
    assert float(loss) == pytest.approx(0, abs=1e-6)
    assert float(agreement) == pytest.approx(1, rel=1e-4)
    assert value(np.ones((6, 4)), np.ones((6, 4))) == pytest.approx(4)


def test_the_loss_is_the_mean_value_times_the_scale():
    views = {n: x for n, x in crop_network.batch(6).items() if n.startswith("view")}
    totals = []
    for scale in (1.0, 0.1):
        objective = barlow_twins.make(crop_network.make(), scale=scale, **barlow_twins.TINY)
        params, extra = jax.jit(objective.init)(jax.random.key(0), views)
        total, (weight, _, metrics) = jax.jit(objective.loss)(
            params, extra, views, jax.random.key(1))
        assert weight == 6
        assert -1 <= metrics["agreement"][0] / weight <= 1
        totals.append(float(total))
    assert totals[1] == pytest.approx(totals[0] / 10, rel=1e-5)
    assert objective.encoder(params, extra)[0] is params["encoder"]
