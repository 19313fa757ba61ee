"""CLIP and SigLIP: losses against loops, the chunked one against all pairs at once."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from ssljax.core.sharding import make_mesh, place_whole, use_mesh
from ssljax.families import pairwise
from ssljax.objectives import clip

RNG = np.random.default_rng(0)


def rows(count: int, width: int = 6) -> np.ndarray:
    z = RNG.normal(size=(count, width))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


IMAGES, TEXTS = rows(16), rows(16)


def clip_loop(images, texts, scale):
    total, count = 0.0, len(images)
    for i in range(count):
        own = scale * images[i] @ texts[i]
        of_texts = sum(math.exp(scale * images[i] @ texts[j]) for j in range(count))
        of_images = sum(math.exp(scale * images[j] @ texts[i]) for j in range(count))
        total += (math.log(of_texts) - own + math.log(of_images) - own) / 2
    return total


def siglip_loop(images, texts, scale, bias):
    total = 0.0
    for i, x in enumerate(images):
        for j, y in enumerate(texts):
            sign = 1 if i == j else -1
            total += math.log1p(math.exp(-sign * (scale * x @ y + bias)))
    return total


@pytest.mark.parametrize("scale", [1.0, 1 / 0.07, 100.0])
def test_clip_equals_the_loop(scale):
    with jax.enable_x64(True):
        nats, texts, images = clip.symmetric_nats(jnp.asarray(IMAGES), jnp.asarray(TEXTS),
                                                  jnp.float64(scale))
    assert float(nats) == pytest.approx(clip_loop(IMAGES, TEXTS, scale), rel=1e-5)
    cosines = IMAGES @ TEXTS.T
    assert float(texts) == np.sum(cosines.argmax(1) == np.arange(16))
    assert float(images) == np.sum(cosines.argmax(0) == np.arange(16))


@pytest.mark.parametrize(("scale", "bias"), [(1.0, 0.0), (10.0, -10.0), (30.0, -2.71)])
def test_siglip_equals_the_loop(scale, bias):
    found = pairwise.sigmoid_nats(*map(jnp.float32, (IMAGES, TEXTS, scale, bias)))
    assert float(found) == pytest.approx(siglip_loop(IMAGES, TEXTS, scale, bias), rel=1e-5)


def test_losses_do_not_depend_on_the_order_of_pairs_and_do_on_what_is_paired():
    order = RNG.permutation(16)
    losses = (lambda x, y: clip.symmetric_nats(x, y, jnp.float32(10.0))[0],
              lambda x, y: pairwise.sigmoid_nats(x, y, jnp.float32(10.0), jnp.float32(-5.0)))
    for loss in losses:
        whole = float(loss(jnp.float32(IMAGES), jnp.float32(TEXTS)))
        moved = float(loss(jnp.float32(IMAGES[order]), jnp.float32(TEXTS[order])))
        assert moved == pytest.approx(whole, rel=1e-5)
        assert abs(float(loss(jnp.float32(IMAGES), jnp.float32(TEXTS[order]))) - whole) > 0.1


def test_limits_equal_pairs_that_are_orthogonal_to_others_are_learnt_and_equal_rows_are_chance():
    eye = jnp.eye(8)
    assert float(clip.symmetric_nats(eye, eye, jnp.float32(100.0))[0]) == pytest.approx(0, abs=1e-5)
    found = pairwise.sigmoid_nats(eye, eye, jnp.float32(100.0), jnp.float32(-50.0))
    assert float(found) == pytest.approx(0, abs=1e-5)
    same = jnp.ones((8, 4)) / 2
    assert float(clip.symmetric_nats(same, same, jnp.float32(7.0))[0]) == pytest.approx(
        8 * math.log(8), rel=1e-6)


def dense(images, texts, scale, bias):
    """Return the same loss of all pairs at once."""
    logits = scale * images @ texts.T + bias
    return -jnp.sum(jax.nn.log_sigmoid((2 * jnp.eye(len(images)) - 1) * logits))


@functools.cache
def dense_reference():
    arguments = tuple(map(jnp.float32, (IMAGES, TEXTS, 10.0, -3.0)))
    return jax.value_and_grad(dense, argnums=(0, 1, 2, 3))(*arguments)


@pytest.mark.parametrize(("sizes", "kind"), [
    ({"data": 8}, AxisType.Explicit), ({"data": 2, "fsdp": 2, "tensor": 2}, AxisType.Auto),
    ({"tensor": 8}, AxisType.Explicit)])
def test_chunks_that_travel_equal_all_pairs_at_once_with_gradients(sizes, kind):
    value, grads = dense_reference()
    mesh = make_mesh(sizes, kind)
    with use_mesh(mesh):
        images, texts = (place_whole(mesh, z.astype(np.float32)) for z in (IMAGES, TEXTS))
        found, moved = jax.jit(jax.value_and_grad(pairwise.sigmoid_nats, argnums=(0, 1, 2, 3)))(
            images, texts, jnp.float32(10.0), jnp.float32(-3.0))
    assert float(found) == pytest.approx(float(value), rel=1e-6)
    for ours, theirs in zip(moved, grads, strict=True):
        norm = np.linalg.norm(np.asarray(theirs))
        assert np.linalg.norm(np.asarray(ours) - np.asarray(theirs)) < 1e-6 * norm


def test_no_device_ever_holds_all_pairs(monkeypatch):
    monkeypatch.setattr(pairwise, "ROWS", 4)
    step = jax.value_and_grad(pairwise.sigmoid_nats)
    arguments = tuple(map(jnp.float32, (IMAGES, TEXTS, 10.0, -3.0)))
    alone = str(jax.make_jaxpr(step)(*arguments))
    assert "f32[16,16]" not in alone
    assert "f32[4,16]" in alone
    with use_mesh(make_mesh({"data": 8})):
        shared = str(jax.make_jaxpr(step)(*arguments))
    assert "f32[16,16]" not in shared
    assert "ppermute" in shared
    assert float(pairwise.sigmoid_nats(*arguments)) == pytest.approx(
        float(dense(*arguments)), rel=1e-6)


def test_the_scale_of_clip_is_held_at_its_ceiling():
    objective = clip.make(None, text_model=None)
    params, _ = objective.update({"log_scale": jnp.float32(9.0)}, {}, jnp.int32(0))
    assert float(jnp.exp(params["log_scale"])) == pytest.approx(100, rel=1e-6)
    params, _ = objective.update({"log_scale": jnp.float32(1.0)}, {}, jnp.int32(0))
    assert float(params["log_scale"]) == 1
