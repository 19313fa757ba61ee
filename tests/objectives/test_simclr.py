"""SimCLR against its equation, and what its loss may depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.models import vit
from ssljax.objectives import simclr

RNG = np.random.default_rng(0)
Z1, Z2 = RNG.normal(size=(2, 7, 5))


def reference(z1: np.ndarray, z2: np.ndarray, temperature: float) -> float:
    """Equation 1, summed over 2N anchors, by a double loop in float64."""
    z = [v / np.linalg.norm(v) for v in (*z1, *z2)]
    n, total = len(z1), 0.0
    for i in range(2 * n):
        positive = z[i] @ z[(i + n) % (2 * n)] / temperature
        others = [z[i] @ z[k] / temperature for k in range(2 * n) if k != i]
        total -= positive - np.log(np.sum(np.exp(others)))
    return total


def nats(z1: np.ndarray, z2: np.ndarray, temperature: float = 0.2) -> float:
    total, _ = simclr.nt_xent(jnp.asarray(z1, jnp.float32), jnp.asarray(z2, jnp.float32),
                              temperature)
    return float(total)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_equals_the_double_loop(temperature):
    assert nats(Z1, Z2, temperature) == pytest.approx(reference(Z1, Z2, temperature), rel=1e-5)


def test_does_not_depend_on_the_order_of_images_or_views_or_on_lengths():
    order = RNG.permutation(7)
    assert nats(Z1[order], Z2[order]) == pytest.approx(nats(Z1, Z2), rel=1e-5)
    assert nats(Z2, Z1) == pytest.approx(nats(Z1, Z2), rel=1e-5)
    assert nats(3 * Z1, 0.1 * Z2) == pytest.approx(nats(Z1, Z2), rel=1e-5)


def test_depends_on_which_views_belong_together():
    assert abs(nats(Z1, Z2[::-1]) - nats(Z1, Z2)) > 0.1


def test_gradient_equals_finite_differences_of_the_double_loop():
    grad = jax.grad(lambda z: simclr.nt_xent(z, jnp.asarray(Z2, jnp.float32), 0.5)[0])(
        jnp.asarray(Z1, jnp.float32))
    for i, j in ((0, 0), (3, 2), (6, 4)):
        step = np.zeros_like(Z1)
        step[i, j] = 1e-5
        slope = (reference(Z1 + step, Z2, 0.5) - reference(Z1 - step, Z2, 0.5)) / 2e-5
        assert float(grad[i, j]) == pytest.approx(slope, abs=1e-4)


def test_perfect_views_rank_first_and_a_collapsed_network_scores_log_of_the_choices():
    z = np.eye(6)
    assert simclr.nt_xent(jnp.asarray(z), jnp.asarray(z), 0.1)[1] == 12
    collapsed = np.ones((6, 4))
    assert nats(collapsed, collapsed) == pytest.approx(12 * np.log(11), rel=1e-5)


def test_weight_counts_both_views_and_evaluation_drops_the_head():
    objective = simclr.make(vit.make(**vit.TINY), **simclr.TINY)
    views = RNG.random((2, 4, 8, 8, 1)).astype(np.float32)
    batch = {"view1": jnp.asarray(views[0]), "view2": jnp.asarray(views[1])}
    params, extra = jax.jit(objective.init)(jax.random.key(0), batch)
    total, (weight, _, metrics) = jax.jit(objective.loss)(params, extra, batch, jax.random.key(1))
    assert weight == 8
    assert metrics["positive_first"][1] == 8
    assert objective.coupled
    assert objective.encoder(params, extra)[0] is params["encoder"]
    assert float(total) > 0
