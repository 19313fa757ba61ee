"""MoCo v2 against its equation; what enters the queue, and when."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.objectives import moco_v2
from tests.objectives import crop_network, slopes

RNG = np.random.default_rng(0)


def rows(count: int) -> np.ndarray:
    z = RNG.normal(size=(count, 4))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


Q, K, QUEUE = rows(5), rows(5), rows(12)
BATCH = {n: x for n, x in crop_network.batch(4).items() if n.startswith("view")}


@functools.cache
def made(key_norm: str = "batch", **options):
    objective = moco_v2.make(crop_network.make(), key_norm=key_norm,
                             **{**moco_v2.TINY, "queue_size": 8, **options})
    params, extra = jax.jit(objective.init)(jax.random.key(0), BATCH)
    return objective._replace(loss=jax.jit(objective.loss)), params, extra


def reference(q: np.ndarray, k: np.ndarray, queue: np.ndarray, temperature: float = 0.2) -> float:
    """Equation 1 of MoCo by loops, summed over queries."""
    total = 0.0
    for query, own in zip(q, k, strict=True):
        logits = np.array([query @ key for key in (own, *queue)]) / temperature
        total += np.log(np.sum(np.exp(logits))) - logits[0]
    return total


def test_value_and_gradient_equal_the_loop():
    slopes.check(lambda q, k, n: moco_v2.contrast(q, k, n, 0.2)[0], reference, Q, K, QUEUE)


def test_does_not_see_the_order_of_queue_or_images():
    value = float(moco_v2.contrast(Q, K, QUEUE, 0.2)[0])
    order = RNG.permutation(5)
    assert float(moco_v2.contrast(Q[order], K[order], QUEUE[::-1], 0.2)[0]) == pytest.approx(
        value, rel=1e-5)
    assert float(moco_v2.contrast(Q, Q, QUEUE, 0.2)[1]) == 5
    same = jnp.ones((3, 4)) / 2
    assert float(moco_v2.contrast(same, same, jnp.ones((7, 4)) / 2, 0.2)[0]) == pytest.approx(
        3 * np.log(8), rel=1e-5)


def test_keys_are_the_teachers_and_enter_the_queue_after_they_were_compared():
    objective, params, extra = made()
    total, (weight, moved, _) = objective.loss(params, extra, BATCH, jax.random.key(1))
    teacher = jax.tree.map(lambda w: np.asarray(w, np.float64), extra["teacher"])

    def embed(image):
        h = crop_network.in_numpy(teacher["encoder"], image)[0]
        up, down = teacher["head"]["layer0"], teacher["head"]["layer1"]
        h = np.maximum(h @ up["w_head_up"] + up["bias"], 0) @ down["w_head_down"] + down["bias"]
        return h / np.linalg.norm(h, axis=1, keepdims=True)

    # At the start student and teacher are one network.
    q, k = embed(BATCH["view1"]), embed(BATCH["view2"])
    assert float(total) == pytest.approx(reference(q, k, np.asarray(extra["keys"]["queue"])),
                                         rel=1e-4)
    np.testing.assert_allclose(moved["keys"]["queue"][:4], k, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(moved["keys"]["queue"][4:], extra["keys"]["queue"][4:])
    assert weight == moved["keys"]["next"] == 4


def test_both_ways_are_the_mean_of_two_runs_with_a_queue_each():
    objective, params, extra = made(symmetric=True)
    one, _, _ = made()
    total, (weight, moved, metrics) = objective.loss(params, extra, BATCH, jax.random.key(1))
    halves = []
    for views, name in ((("view1", "view2"), "keys"), (("view2", "view1"), "keys1")):
        batch = {"view1": BATCH[views[0]], "view2": BATCH[views[1]]}
        half, (_, after, _) = one.loss(params, {**extra, "keys": extra[name]}, batch,
                                       jax.random.key(1))
        halves.append(float(half))
        np.testing.assert_allclose(moved[name]["queue"], after["keys"]["queue"], rtol=1e-5)
    assert float(total) == pytest.approx(sum(halves) / 2, rel=1e-5)
    assert weight == 4 and 0 <= float(metrics["positive_first"][0]) <= 4
    assert np.any(extra["keys"]["queue"] != extra["keys1"]["queue"])


def test_the_momentum_may_move_along_half_a_cosine():
    objective, params, extra = made(final_momentum=0.99, total_steps=10)
    new = jax.tree.map(lambda w: w + 1, params)
    for step, keeps in ((0, 0.9), (5, 0.945), (10, 0.99)):
        _, moved = objective.update(new, extra, jnp.int32(step))
        for t, m in zip(*map(jax.tree.leaves, (extra["teacher"], moved["teacher"])), strict=True):
            np.testing.assert_allclose(m - t, 1 - keeps, rtol=1e-3)


def test_only_the_student_has_a_gradient():
    objective, params, extra = made()
    rest = {n: x for n, x in extra.items() if n != "teacher"}

    def loss(params, teacher):
        return objective.loss(params, {**rest, "teacher": teacher}, BATCH, jax.random.key(2))[0]

    student, teacher = jax.jit(jax.grad(loss, (0, 1)))(params, extra["teacher"])
    assert all(np.any(g) for g in jax.tree.leaves(student["head"]))
    assert not any(np.any(g) for g in jax.tree.leaves(teacher))


def test_the_teacher_follows_the_new_student():
    objective, params, extra = made()
    new = jax.tree.map(lambda w: w + 1, params)
    _, moved = objective.update(new, extra, jnp.int32(3))
    for t, s, m in zip(*map(jax.tree.leaves, (extra["teacher"], new, moved["teacher"])),
                       strict=True):
        np.testing.assert_allclose(m, 0.9 * t + 0.1 * s, rtol=1e-5, atol=1e-6)


def test_statistics_of_keys_may_follow_the_students():
    objective, params, extra = made("teacher")
    extra = {**extra, "stats": {"encoder": {"mean": jnp.ones(3)}, "head": {}},
             "teacher_stats": {"encoder": {"mean": jnp.zeros(3)}, "head": {}}}
    _, moved = objective.update(params, extra, jnp.int32(0))
    np.testing.assert_allclose(moved["teacher_stats"]["encoder"]["mean"], 0.1, rtol=1e-5)


def test_a_queue_that_does_not_fit_the_batch_is_refused():
    objective = moco_v2.make(crop_network.make(), **{**moco_v2.TINY, "queue_size": 6})
    with pytest.raises(ConfigError, match="queue of 6"):
        objective.init(jax.random.key(0), BATCH)
