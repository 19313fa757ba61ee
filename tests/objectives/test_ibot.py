"""iBOT against its equations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.objectives import dino, ibot
from tests.objectives import crop_network
from tests.objectives.crop_network import head_in_numpy, in_numpy, softmax

K = ibot.TINY["out_dim"]
BATCH = crop_network.batch()


@functools.cache
def objective(**options):
    words = {**ibot.TINY, "centre_momentum": 0.9, **options}
    return ibot.make(crop_network.make(), total_steps=100, **words)


@functools.cache
def state():
    params, extra = jax.jit(objective().init)(jax.random.key(0), BATCH)
    other, _ = jax.jit(objective().init)(jax.random.key(1), BATCH)
    return params, {**extra, "teacher": other, "class_centre": jnp.linspace(-0.3, 0.3, K),
                    "patch_centre": jnp.linspace(0.2, -0.2, K)}


@functools.cache
def loss(**options):
    params, extra = state()
    return jax.jit(objective(**options).loss)(params, extra, BATCH, jax.random.key(2))


def metric(metrics, name: str) -> float:
    return float(metrics[name][0] / metrics[name][1])


def patches_by_loop() -> tuple[float, np.ndarray]:
    """Equation 2 at a teacher temperature of .04, a mean over images and views; the centre."""
    params, extra = state()
    total, told = 0.0, []
    for view, mask in (("view1", "hidden1"), ("view2", "hidden2")):
        hidden = np.asarray(BATCH[mask])
        _, knows = in_numpy(extra["teacher"]["encoder"], BATCH[view])
        _, sees = in_numpy(params["encoder"], BATCH[view], hidden)
        for b in range(len(hidden)):
            nats = []
            for n in np.flatnonzero(hidden[b]):
                scores = head_in_numpy(extra["teacher"]["class_head"], knows[b, n])
                told.append(scores)
                target = softmax((scores - np.asarray(extra["patch_centre"])) / 0.04)
                named = softmax(head_in_numpy(params["class_head"], sees[b, n]) / 0.1)
                nats.append(-np.sum(target * np.log(named)))
            total += np.mean(nats) / 2 if nats else 0.0
    return total / len(BATCH["view1"]), np.mean(told, axis=0)


def test_patches_equal_the_loop_over_hidden_patches():
    _, (_, extra, metrics) = loss(max_hidden=1.0)
    want, mean = patches_by_loop()
    assert metric(metrics, "patch_nats") == pytest.approx(want, rel=1e-5)
    centre = 0.9 * np.asarray(state()[1]["patch_centre"]) + 0.1 * mean
    np.testing.assert_allclose(extra["patch_centre"], centre, rtol=1e-4, atol=1e-6)


def test_the_loss_is_both_games_by_their_weights():
    total, (weight, _, metrics) = loss(max_hidden=1.0, class_weight=0.5, patch_weight=3.0)
    want = 0.5 * metric(metrics, "class_nats") + 3 * metric(metrics, "patch_nats")
    assert float(total / weight) == pytest.approx(want, rel=1e-6)


def test_without_hidden_patches_it_is_dino():
    params, extra = state()
    whole = {**BATCH, **{n: jnp.zeros_like(BATCH[n]) for n in ("hidden1", "hidden2")}}
    ours, (_, moved, _) = jax.jit(objective().loss)(params, extra, whole, jax.random.key(2))
    alone = dino.make(crop_network.make(), total_steps=100, **dino.TINY)
    theirs, _ = jax.jit(alone.loss)(params, extra, whole, jax.random.key(2))
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)
    # Nothing was hidden: the centre of patches stays.
    np.testing.assert_allclose(moved["patch_centre"], extra["patch_centre"], rtol=1e-6)


def test_what_is_hidden_from_the_student_changes_only_through_the_teacher():
    params, extra = state()
    hidden = np.repeat(np.repeat(np.asarray(BATCH["hidden1"]).reshape(4, 4, 4), 2, 1), 2, 2)
    noise = jnp.where(jnp.asarray(hidden)[..., None], 5.0, BATCH["view1"])
    grads = jax.jit(jax.grad(lambda image: objective(max_hidden=1.0).loss(
        params, extra, {**BATCH, "view1": image}, jax.random.key(2))[0]))(noise)
    # The gradient by pixels flows through the student alone, which does not see these.
    assert np.abs(np.asarray(grads)[hidden]).max() == 0
    assert np.abs(np.asarray(grads)[~hidden]).max() > 0


def test_sinkhorn_is_there_for_few_steps():
    metrics = loss(centring="sinkhorn")[1][2]
    assert metric(metrics, "teacher_use") > 0.9 > metric(loss()[1][2], "teacher_use")


def test_a_batch_without_masks_is_refused():
    with pytest.raises(ConfigError, match="hidden1, hidden2"):
        objective().init(jax.random.key(0), {n: BATCH[n] for n in ("view1", "view2")})
