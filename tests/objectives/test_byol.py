"""BYOL against equation 2, and how student and teacher move."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.objectives import byol
from tests.objectives import crop_network, slopes

RNG = np.random.default_rng(0)
P, T = RNG.normal(size=(2, 5, 4))
BATCH = {n: x for n, x in crop_network.batch(6).items() if n.startswith("view")}


@functools.cache
def state():
    objective = byol.make(crop_network.make(), total_steps=100, **byol.TINY)
    params, extra = jax.jit(objective.init)(jax.random.key(0), BATCH)
    other, _ = jax.jit(objective.init)(jax.random.key(1), BATCH)
    teacher = {"encoder": other["encoder"], "head": other["head"]}
    return objective, params, {**extra, "teacher": teacher}


@functools.cache
def result():
    objective, params, extra = state()

    def loss(params, teacher):
        return objective.loss(params, {**extra, "teacher": teacher}, BATCH, jax.random.key(2))

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, extra["teacher"])


def reference(p: np.ndarray, t: np.ndarray) -> float:
    """Equation 2 by a loop: the squared distance of unit vectors."""
    return sum(np.sum((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2)
               for a, b in zip(p, t, strict=True))


def head_in_numpy(params: dict, x: np.ndarray) -> np.ndarray:
    h = x @ np.asarray(params["layer0"]["w_head_up"], np.float64)
    h = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5)
    return np.maximum(h, 0) @ np.asarray(params["layer1"]["w_head_down"], np.float64)


def test_distance_and_its_gradient_equal_the_loop():
    slopes.check(lambda p, t: jnp.sum(byol.distances(p, t)), reference, P, T)


def test_the_whole_method_equals_the_loop_over_networks():
    _, params, extra = state()
    z = {v: head_in_numpy(net["head"], crop_network.in_numpy(net["encoder"], BATCH[v])[0])
         for net in (params,) for v in BATCH}
    t = {v: head_in_numpy(extra["teacher"]["head"],
                          crop_network.in_numpy(extra["teacher"]["encoder"], BATCH[v])[0])
         for v in BATCH}
    p = {v: head_in_numpy(params["predictor"], z[v]) for v in BATCH}
    (total, (weight, _, _)), _ = result()
    expected = reference(p["view1"], t["view2"]) + reference(p["view2"], t["view1"])
    assert float(total) == pytest.approx(expected, rel=1e-4)
    assert weight == 6


def test_equal_directions_cost_nothing_and_opposite_ones_four():
    np.testing.assert_allclose(byol.distances(jnp.asarray(P), jnp.asarray(3 * P)), 0, atol=1e-6)
    np.testing.assert_allclose(byol.distances(jnp.asarray(P), jnp.asarray(-P)), 4, rtol=1e-6)


def test_the_teacher_has_no_gradient_and_the_student_has():
    _, (student, teacher) = result()
    assert all(not np.any(g) for g in jax.tree.leaves(teacher))
    assert all(np.any(g) for g in jax.tree.leaves((student["head"], student["predictor"])))


def test_the_teacher_follows_the_student_that_the_optimizer_moved():
    objective, params, extra = state()
    new = jax.tree.map(lambda w: w + 1, params)
    same, moved = objective.update(new, extra, jnp.int32(50))
    momentum = 1 - (1 - byol.TINY["momentum"]) / 2      # half way along the cosine
    expected = jax.tree.map(lambda t, s: momentum * t + (1 - momentum) * s, extra["teacher"],
                            {"encoder": new["encoder"], "head": new["head"]})
    for a, b in zip(jax.tree.leaves(moved["teacher"]), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert same is new
    assert moved["teacher_stats"] is extra["teacher_stats"]


def test_batch_statistics_of_student_and_teacher_are_apart():
    (_, (_, moved, _)), _ = result()
    student, teacher = (moved[n]["head"]["layer0"]["mean"] for n in ("stats", "teacher_stats"))
    assert np.any(student) and np.any(teacher)
    assert not np.allclose(student, teacher)


def test_evaluation_uses_the_students_encoder():
    objective, params, extra = state()
    assert objective.encoder(params, extra)[0] is params["encoder"]
    assert objective.coupled
