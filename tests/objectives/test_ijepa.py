"""I-JEPA: what is read, what is predicted, and how the target encoder follows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.models import vit, vit_predictor
from ssljax.objectives import ijepa

RNG = np.random.default_rng(0)
ORDER = np.stack([RNG.permutation(16) for _ in range(3)])
IMAGES = RNG.random((3, 8, 8, 1)).astype(np.float32)
BATCH = {"image": jnp.asarray(IMAGES), "context": jnp.asarray(ORDER[:, :5]),
         "targets": jnp.asarray(ORDER[:, 5:13].reshape(3, 2, 4))}
MODEL, PREDICTOR = vit.make(**vit.TINY), vit_predictor.make(**vit_predictor.TINY)
OBJECTIVE = ijepa.make(MODEL, predictor=PREDICTOR, total_steps=10)
KEY = jax.random.key(1)
LOSS = jax.jit(OBJECTIVE.loss)


@functools.cache
def start():
    params, extra = jax.jit(OBJECTIVE.init)(jax.random.key(0), BATCH)
    moved = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(KEY, x.shape), extra["teacher"])
    return params, {**extra, "teacher": moved}


@functools.cache
def parts():
    params, extra = start()
    whole = jax.jit(MODEL.apply)(extra["teacher"], {"image": BATCH["image"]})["patches"]
    context = jax.jit(MODEL.apply)(params["encoder"], {"image": BATCH["image"],
                                                       "visible": BATCH["context"]})["patches"]
    predicted = jax.jit(PREDICTOR.apply)(params["predictor"], {
        "sequence": context, "visible": BATCH["context"], "targets": BATCH["targets"]})
    return np.asarray(whole, np.float64), np.asarray(predicted["predictions"], np.float64)


def standard(row: np.ndarray) -> np.ndarray:
    return (row - row.mean()) / np.sqrt(row.var() + 1e-5)


def huber(x: np.ndarray) -> float:
    return float(np.mean([0.5 * e * e if abs(e) < 1 else abs(e) - 0.5 for e in x]))


def test_loss_equals_the_loop_over_target_patches():
    whole, predicted = parts()
    expected, of_mean = 0.0, 0.0
    mean = np.stack([[standard(row) for row in image] for image in whole]).mean(axis=0)
    for i, m, t in np.ndindex(3, 2, 4):
        place = ORDER[i, 5 + 4 * m + t]
        expected += huber(predicted[i, m, t] - standard(whole[i, place]))
        of_mean += huber(mean[place] - standard(whole[i, place]))
    total, (weight, _, metrics) = LOSS(*start(), BATCH, KEY)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert weight == 24
    assert float(metrics["smooth_l1_of_mean"][0]) == pytest.approx(of_mean, rel=1e-4)


def test_smooth_l1_in_float64_and_its_two_regimes():
    x, y = RNG.normal(size=(2, 5, 7)) * 2
    expected = sum(huber(a - b) for a, b in zip(x, y, strict=True))
    assert float(ijepa.smooth_l1(jnp.asarray(x), jnp.asarray(y))) == pytest.approx(expected, 1e-5)
    assert float(ijepa.smooth_l1(jnp.full((1, 4), 3.0), jnp.zeros((1, 4)))) == 2.5


def pixel_gradient(image: jax.Array, read: str) -> np.ndarray:
    """Return where pixels move what the student reads, or the teacher's targets; bool [B, N]."""
    params, extra = start()

    def student(image):
        context = MODEL.apply(params["encoder"], {"image": image, "visible": BATCH["context"]})
        return jnp.sum(PREDICTOR.apply(params["predictor"], {
            "sequence": context["patches"], "visible": BATCH["context"],
            "targets": BATCH["targets"]})["predictions"] ** 2)

    def teacher(image):
        features = MODEL.apply(extra["teacher"], {"image": image})["patches"]
        return jnp.sum(features[jnp.arange(3)[:, None, None], BATCH["targets"]] ** 3)

    grad = jax.jit(jax.grad({"student": student, "teacher": teacher}[read]))(image)
    grad = np.abs(grad).reshape(3, 4, 2, 4, 2, 1).sum((2, 4, 5))
    return grad.reshape(3, 16) > 0


def test_predictions_read_the_context_alone_and_targets_the_whole_image():
    read = pixel_gradient(BATCH["image"], "student")
    for i in range(3):
        assert set(np.flatnonzero(read[i])) == set(ORDER[i, :5])
    assert pixel_gradient(BATCH["image"], "teacher").all()


def test_no_gradient_reaches_the_target_encoder():
    params, extra = start()
    # From a distance in which the loss does depend on the teacher.
    changed = {**extra, "teacher": jax.tree.map(lambda x: 1.5 * x, extra["teacher"])}
    assert float(LOSS(params, changed, BATCH, KEY)[0]) != float(LOSS(params, extra, BATCH, KEY)[0])
    grads = jax.jit(jax.grad(lambda t: OBJECTIVE.loss(params, {**extra, "teacher": t}, BATCH,
                                                      KEY)[0]))(extra["teacher"])
    assert all(np.all(g == 0) for g in jax.tree.leaves(grads))


def test_the_target_encoder_moves_towards_the_new_student_along_a_line_of_momenta():
    params, extra = start()
    new = {**params, "encoder": jax.tree.map(lambda x: x + 1, params["encoder"])}
    for step, momentum in ((0, 0.996), (5, 0.998), (10, 1.0)):
        _, moved = OBJECTIVE.update(new, extra, jnp.int32(step))
        for old, student, found in zip(*map(jax.tree.leaves, (
                extra["teacher"], new["encoder"], moved["teacher"])), strict=True):
            np.testing.assert_allclose(found, momentum * old + (1 - momentum) * student, rtol=1e-5,
                                       atol=1e-6)


def test_evaluation_uses_the_target_encoder():
    params, extra = start()
    weights, stats = OBJECTIVE.encoder(params, extra)
    assert weights is extra["teacher"]
    assert stats is extra["stats"]["encoder"]
    fresh, started = jax.jit(OBJECTIVE.init)(jax.random.key(0), BATCH)
    assert all(map(np.array_equal, *map(jax.tree.leaves, (fresh["encoder"], started["teacher"]))))
