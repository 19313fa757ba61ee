"""SimSiam against its equations; the stop-gradient stands where the paper puts it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.objectives import simsiam
from tests.objectives import crop_network, slopes

RNG = np.random.default_rng(0)
P, Z = RNG.normal(size=(2, 5, 4))
BATCH = {n: x for n, x in crop_network.batch(6).items() if n.startswith("view")}
OBJECTIVE = simsiam.make(crop_network.make(), **simsiam.TINY)


LOSS = jax.jit(OBJECTIVE.loss)


@functools.cache
def state():
    return jax.jit(OBJECTIVE.init)(jax.random.key(0), BATCH)


def reference(p: np.ndarray, z: np.ndarray) -> float:
    return -sum(a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(p, z, strict=True))


def test_value_and_gradient_of_predictions_equal_the_loop():
    slopes.check(lambda p: jnp.sum(simsiam.negative_cosines(p, jnp.asarray(Z))),
                 lambda p: reference(p, Z), P)


def test_projections_have_no_gradient():
    grad = jax.grad(lambda z: jnp.sum(simsiam.negative_cosines(jnp.asarray(P), z)))(
        jnp.asarray(Z))
    assert not np.any(grad)


def test_swapping_the_views_changes_nothing():
    params, extra = state()
    swapped = {"view1": BATCH["view2"], "view2": BATCH["view1"]}
    total, (weight, _, metrics) = LOSS(params, extra, BATCH, jax.random.key(1))
    other, _ = LOSS(params, extra, swapped, jax.random.key(1))
    assert float(total) == pytest.approx(float(other), rel=1e-5)
    assert weight == metrics["embedding_std"][1] == 6
    assert abs(total) <= weight


def test_equal_directions_score_minus_one_and_a_collapse_is_seen():
    np.testing.assert_allclose(simsiam.negative_cosines(jnp.asarray(P), jnp.asarray(2 * P)), -1,
                               rtol=1e-5)
    params, extra = state()
    same = {v: jnp.ones_like(x) for v, x in BATCH.items()}
    _, (_, _, metrics) = LOSS(params, extra, same, jax.random.key(1))
    assert float(metrics["embedding_std"][0]) == pytest.approx(0, abs=1e-3)


def test_there_is_no_teacher_and_evaluation_uses_the_encoder_alone():
    params, extra = state()
    assert set(extra) == {"stats"}
    assert OBJECTIVE.encoder(params, extra)[0] is params["encoder"]
