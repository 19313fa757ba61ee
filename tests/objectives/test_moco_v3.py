"""MoCo v3 against algorithm 1, and how its teacher moves."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.objectives import moco_v3
from tests.objectives import crop_network, slopes

RNG = np.random.default_rng(0)
Q, K = RNG.normal(size=(2, 6, 4))
BATCH = {n: x for n, x in crop_network.batch(6).items() if n.startswith("view")}
OBJECTIVE = moco_v3.make(crop_network.make(), total_steps=100, **moco_v3.TINY)


@functools.cache
def state():
    params, extra = jax.jit(OBJECTIVE.init)(jax.random.key(0), BATCH)
    other, _ = jax.jit(OBJECTIVE.init)(jax.random.key(1), BATCH)
    return params, {**extra, "teacher": {"encoder": other["encoder"], "head": other["head"]}}


def reference(q: np.ndarray, k: np.ndarray, temperature: float) -> float:
    """Algorithm 1's ctr by loops, summed over rows."""
    q, k = ([v / np.linalg.norm(v) for v in z] for z in (q, k))
    total = 0.0
    for i, query in enumerate(q):
        logits = np.array([query @ key for key in k]) / temperature
        total += np.log(np.sum(np.exp(logits))) - logits[i]
    return 2 * temperature * total


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_value_and_gradient_equal_the_loop(temperature):
    slopes.check(lambda q, k: moco_v3.contrast(q, k, temperature)[0],
                 lambda q, k: reference(q, k, temperature), Q, K)


def test_does_not_see_the_order_of_images_or_lengths_but_sees_pairs():
    order, value = RNG.permutation(6), float(moco_v3.contrast(Q, K, 0.2)[0])
    assert float(moco_v3.contrast(Q[order], K[order], 0.2)[0]) == pytest.approx(value, rel=1e-5)
    assert float(moco_v3.contrast(3 * Q, K / 7, 0.2)[0]) == pytest.approx(value, rel=1e-5)
    assert abs(float(moco_v3.contrast(Q, K[::-1], 0.2)[0]) - value) > 0.1


def test_own_keys_rank_first_and_a_collapse_scores_the_logarithm_of_the_batch():
    assert moco_v3.contrast(jnp.eye(6), jnp.eye(6), 0.1)[1] == 6
    same = jnp.ones((6, 4))
    assert float(moco_v3.contrast(same, same, 0.2)[0]) == pytest.approx(
        2 * 0.2 * 6 * np.log(6), rel=1e-5)


def test_the_teacher_has_no_gradient():
    params, extra = state()

    def loss(teacher):
        return OBJECTIVE.loss(params, {**extra, "teacher": teacher}, BATCH, jax.random.key(2))[0]

    assert not any(np.any(g) for g in jax.tree.leaves(jax.jit(jax.grad(loss))(extra["teacher"])))


def test_the_teacher_follows_the_new_student_and_rests_at_the_end():
    params, extra = state()
    _, moved = OBJECTIVE.update(params, extra, jnp.int32(0))
    old, new, student = (t["head"]["layer0"]["w_head_up"]
                         for t in (extra["teacher"], moved["teacher"], params))
    np.testing.assert_allclose(new, 0.9 * old + 0.1 * student, rtol=1e-5, atol=1e-6)
    _, last = OBJECTIVE.update(params, extra, jnp.int32(100))
    np.testing.assert_array_equal(last["teacher"]["head"]["layer0"]["w_head_up"], old)
    assert OBJECTIVE.encoder(params, extra)[0] is params["encoder"]
