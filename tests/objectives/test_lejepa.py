"""LeJEPA: SIGReg against its sum, what it forbids, and that all views count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.objectives import lejepa
from tests.objectives import crop_network, slopes

RNG = np.random.default_rng(0)
Z = 1.5 * RNG.normal(size=(7, 4)) + 0.3
AXES = np.asarray(lejepa.random_directions(jax.random.key(0), 4, 5), np.float64)
BATCH = {n: x for n, x in crop_network.batch(6).items() if not n.startswith("hidden")}


def reference(z: np.ndarray) -> float:
    """The statistic by loops over directions, knots and rows."""
    total, dt = 0.0, 3 / 16
    for axis in AXES.T:
        u = z @ axis
        for k in range(17):
            t = k * dt
            normal = np.exp(-t * t / 2)
            error = (np.mean(np.cos(u * t)) - normal) ** 2 + np.mean(np.sin(u * t)) ** 2
            total += (dt if k in (0, 16) else 2 * dt) * normal * error
    return len(z) * total / AXES.shape[1]


def statistic(z: np.ndarray) -> float:
    return float(lejepa.sigreg(jnp.asarray(z, jnp.float32), jnp.asarray(AXES, jnp.float32)))


def test_sigreg_and_its_gradient_equal_the_loop():
    slopes.check(lambda z: lejepa.sigreg(z, jnp.asarray(AXES, jnp.float32)), reference, Z)


def test_a_standard_normal_passes_and_others_do_not():
    normal = RNG.normal(size=(2000, 4))
    spikes = np.sign(RNG.normal(size=(2000, 4)))
    assert statistic(normal) < 2
    for other in (np.zeros((2000, 4)), 3 * normal, normal + 1, 0.3 * normal):
        assert statistic(other) > 50
    one_axis = jnp.eye(4)[:, :1]
    assert float(lejepa.sigreg(jnp.asarray(spikes, jnp.float32), one_axis)) > 50


def test_does_not_see_the_order_of_rows_nor_the_sign_of_all():
    assert statistic(Z[RNG.permutation(7)]) == pytest.approx(statistic(Z), rel=1e-5)
    assert statistic(-Z) == pytest.approx(statistic(Z), rel=1e-5)


def test_directions_are_unit_and_come_from_the_key():
    np.testing.assert_allclose(np.linalg.norm(AXES, axis=0), 1, rtol=1e-5)
    again = lejepa.random_directions(jax.random.key(0), 4, 5)
    other = lejepa.random_directions(jax.random.key(1), 4, 5)
    np.testing.assert_array_equal(np.asarray(again, np.float64), AXES)
    assert not np.allclose(other, AXES)


def test_disagreement_is_the_mean_over_all_views_rows_and_coordinates():
    views = RNG.normal(size=(5, 3, 2))
    centre = (views[0] + views[1]) / 2
    expected = np.mean([(centre[i, j] - v[i, j]) ** 2 for v in views for i in range(3)
                        for j in range(2)])
    found = lejepa.disagreement([jnp.asarray(v) for v in views], jnp.asarray(centre))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_every_view_takes_part_in_both_terms():
    objective = lejepa.make(crop_network.make(), **lejepa.TINY)
    params, extra = jax.jit(objective.init)(jax.random.key(0), BATCH)
    loss = jax.jit(objective.loss)
    total, (weight, _, metrics) = loss(params, extra, BATCH, jax.random.key(1))
    terms = {n: float(metrics[n][0]) for n in ("disagreement", "sigreg")}
    assert float(total) == pytest.approx(0.95 * terms["disagreement"] + 0.05 * terms["sigreg"],
                                         rel=1e-5)
    assert weight == 6
    for moved in ({"view1": BATCH["view1"] + 1}, {"view2": BATCH["view2"] * 2},
                  {"local": BATCH["local"].at[:, 2].multiply(2)}):
        _, (_, _, other) = loss(params, extra, {**BATCH, **moved}, jax.random.key(1))
        for name, value in terms.items():
            assert abs(float(other[name][0]) - value) > 1e-4 * value, (moved.keys(), name)
    assert objective.encoder(params, extra)[0] is params["encoder"]
