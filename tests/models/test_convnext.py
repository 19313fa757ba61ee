"""ConvNeXt: published sizes, what a block computes, and one result on any mesh."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.core.tree import count
from ssljax.models import convnext
from ssljax.train.layout import partition

IMAGES = np.random.default_rng(0).normal(size=(8, 8, 8, 1)).astype(np.float32)


@functools.cache
def built(**options):
    model = convnext.make(**{**convnext.TINY, "layer_scale": 1.0, **options})
    return model, jax.jit(model.init)(jax.random.key(0), {"image": jnp.asarray(IMAGES)})[0]


@pytest.mark.parametrize("variant, millions", [("atto", 3.7), ("T", 28.6), ("S", 50.2),
                                               ("B", 88.6), ("L", 197.8)])
def test_variants_have_their_published_sizes(variant, millions):
    model = convnext.make(variant=variant)
    image = {"image": jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)}
    params, _ = jax.eval_shape(model.init, jax.random.key(0), image)
    outputs = jax.eval_shape(model.apply, params, image)
    width = outputs["pooled"].shape[-1]
    assert outputs["sequence"].shape == (2, 49, width)
    head = 1000 * (width + 1)
    assert (count(params) + head) / 1e6 == pytest.approx(millions, abs=0.05)


def test_a_block_is_its_equation():
    rng = np.random.default_rng(1)
    block = convnext.Block(0.5)
    x = rng.normal(size=(2, 5, 5, 4)).astype(np.float32)
    params = jax.tree.map(lambda w: rng.normal(size=w.shape).astype(np.float32),
                          block.init(jax.random.key(0), x, None)["params"])
    wide = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
    y = sum(wide[:, i:i + 5, j:j + 5] * params["conv"]["w_conv"][i, j, 0]
            for i in range(7) for j in range(7)) + params["conv"]["b_conv"]
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)
    y = y * params["norm"]["scale"] + params["norm"]["bias"]
    hidden = np.asarray(jax.nn.gelu(y @ params["w_up"] + params["b_up"]))
    expected = x + params["gamma_mlp"] * (hidden @ params["w_down"] + params["b_down"])
    np.testing.assert_allclose(block.apply({"params": params}, x, None), expected, rtol=1e-3,
                               atol=1e-3)


def train(model, params, image, seed=0):
    return np.asarray(jax.jit(functools.partial(model.apply, train=True))(
        params, {"image": jnp.asarray(image)}, key=jax.random.key(seed))["pooled"])


def test_paths_drop_whole_rows():
    model, params = built(drop_path=0.5)
    rows = np.repeat(IMAGES[:1], 64, axis=0)
    seen = train(model, params, rows)
    still = np.asarray(model.apply(params, {"image": IMAGES[:1]})["pooled"])
    kinds, counts = np.unique(seen.round(4), axis=0, return_counts=True)
    assert len(kinds) == 2               # the first block's rate is 0, the second is there or not
    assert counts.min() > 16
    assert np.abs(seen - still).max(axis=1).min() > 1e-5             # what is kept is scaled up


def test_without_drop_path_training_is_evaluation():
    model, params = built()
    still = jax.jit(model.apply)(params, {"image": jnp.asarray(IMAGES)})["pooled"]
    np.testing.assert_allclose(train(model, params, IMAGES), still, atol=1e-6)


def gradient(model):
    def loss(params, inputs):
        out = model.apply(params, inputs, key=jax.random.key(1), train=True)
        return jnp.sum(jnp.sin(out["pooled"])) + jnp.sum(jnp.sin(out["sequence"]))

    return jax.jit(jax.grad(loss))


@pytest.mark.slow
def test_eight_devices_compute_and_drop_the_same():
    model, params = built(drop_path=0.5)
    alone = gradient(model)(params, {"image": IMAGES})
    mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    with sharding.use_mesh(mesh):
        there = gradient(model)(
            jax.device_put(params, sharding.shardings(mesh, partition(), params)),
            sharding.place_batch(mesh, {"image": IMAGES}))
    for a, b in zip(jax.tree.leaves(there), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max()))


@pytest.mark.parametrize("options, message", [
    ({"variant": "X"}, 'no variant "X"'), ({}, "tell a variant such as"),
    ({"variant": "T", "drop_path": -0.1}, "drop_path = -0.1 is not a rate")])
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        convnext.make(**options)


def test_what_is_missing_or_does_not_fit_is_refused():
    model, params = built(drop_path=0.5)
    with pytest.raises(ConfigError, match="multiples of 4 but got"):
        model.apply(params, {"image": np.zeros((1, 6, 8, 1), np.float32)})
    with pytest.raises(ConfigError, match="needs a key"):
        model.apply(params, {"image": IMAGES}, train=True)
