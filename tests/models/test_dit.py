"""The diffusion transformer: published sizes, what steers it, what encodes, one result anywhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.core.tree import count
from ssljax.models import dit
from ssljax.nn.adaln import plain_norm
from ssljax.train.layout import partition

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(8, 8, 8, 1)).astype(np.float32)
INPUTS = {"image": IMAGES, "time": np.linspace(0, 1, 8, dtype=np.float32),
          "label": np.arange(8, dtype=np.int32) % 4}


@functools.cache
def built(**options):
    """Return a network with weights that are nowhere 0, as after some steps."""
    model = dit.make(**{**dit.TINY, "num_classes": 3, **options})
    params, _ = jax.jit(model.init)(jax.random.key(0), INPUTS)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return model, jax.tree.unflatten(tree, moved)


def run(model, params, **inputs):
    return jax.jit(model.apply)(params, {**INPUTS, **inputs})


@pytest.mark.parametrize("variant, millions", [("S/2", 33), ("B/2", 130), ("L/2", 458),
                                               ("XL/2", 675)])
def test_variants_have_their_published_sizes(variant, millions):
    """Table 1 of the paper, on latents of 32 x 32 x 4 with the variances that we do not learn."""
    model = dit.make(variant=variant, image_size=32, channels=4, num_classes=1000)
    inputs = {"image": jnp.zeros((1, 32, 32, 4)), "time": jnp.zeros(1)}
    params, _ = jax.eval_shape(model.init, jax.random.key(0), inputs)
    assert count(params) / 1e6 == pytest.approx(millions, rel=0.01)


def test_the_velocity_starts_at_zero():
    model = dit.make(**dit.TINY)
    params, _ = model.init(jax.random.key(0), {"image": IMAGES})
    inputs = {"image": IMAGES, "time": INPUTS["time"]}
    assert not np.any(model.apply(params, inputs)["velocity"])


def test_blocks_start_as_the_identity():
    model = dit.make(**dit.TINY)
    params, _ = model.init(jax.random.key(0), {"image": IMAGES})
    early, late = (model.apply(params, {"image": IMAGES, "time": jnp.full(8, t)})["sequence"]
                   for t in (0.1, 0.9))
    np.testing.assert_array_equal(early, late)


@pytest.mark.parametrize("name, other", [("time", INPUTS["time"] + np.float32(0.01)),
                                         ("label", np.full(8, 2, np.int32))])
def test_time_and_label_steer_their_own_rows(name, other):
    model, params = built()
    changed = np.where(np.arange(8) < 4, INPUTS[name], other).astype(other.dtype)
    before, after = (run(model, params, **inputs)["velocity"] for inputs in ({}, {name: changed}))
    np.testing.assert_allclose(before[:4], after[:4], atol=1e-5)
    rows = np.abs(np.asarray(before - after))[4:].max(axis=(1, 2, 3))
    assert np.all((rows > 1e-3) | (changed == INPUTS[name])[4:])


def test_no_label_is_the_last_of_the_table():
    model, params = built()
    told = run(model, params, label=np.full(8, 3, np.int32))
    silent = jax.jit(model.apply)(params, {n: INPUTS[n] for n in ("image", "time")})
    np.testing.assert_array_equal(told["velocity"], silent["velocity"])


def test_without_time_it_encodes_at_the_probe_time():
    model, params = built(probe_time=0.25)
    encoded = jax.jit(model.apply)(params, {"image": IMAGES})
    assert "velocity" not in encoded
    np.testing.assert_allclose(encoded["pooled"], encoded["sequence"].mean(axis=1), rtol=1e-5)
    whole = jax.jit(model.apply)(params, {"image": IMAGES, "time": jnp.full(8, 0.25)})
    np.testing.assert_allclose(encoded["pooled"], whole["pooled"], atol=1e-6)


def test_the_encoder_does_not_read_the_second_half():
    model, params = built()
    blocks = jax.tree.map(lambda w: w.at[1].set(0), params["blocks"])
    cut = {**params, "blocks": blocks}
    image = {"image": IMAGES}
    np.testing.assert_array_equal(model.apply(params, image)["pooled"],
                                  model.apply(cut, image)["pooled"])
    assert np.abs(run(model, cut)["velocity"] - run(model, params)["velocity"]).max() > 1e-3


def test_init_makes_the_same_weights_whatever_it_sees():
    model, _ = built()
    trees = [model.init(jax.random.key(0), {n: INPUTS[n] for n in names})[0]
             for names in (("image",), ("image", "time"), ("image", "time", "label"))]
    for tree in trees[1:]:
        jax.tree.map(np.testing.assert_array_equal, tree, trees[0])


def test_the_plain_norm_is_that_of_each_row():
    x = RNG.normal(3, 2, size=(4, 16))
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(plain_norm(jnp.asarray(x, jnp.float32)), expected, atol=1e-5)


def test_waves_of_times_are_the_equation():
    waves = dit.time_waves(jnp.array([0.0, 0.123]))
    frequency = 10_000.0 ** (-np.arange(128) / 128)
    expected = np.concatenate([np.cos(123 * frequency), np.sin(123 * frequency)])
    np.testing.assert_allclose(waves[1], expected, atol=1e-4)
    np.testing.assert_array_equal(waves[0], np.repeat([1, 0], 128))


def gradient(model):
    def loss(params, inputs):
        out = model.apply(params, inputs, train=True)
        return jnp.sum(out["velocity"] ** 2) + jnp.sum(jnp.sin(out["pooled"]))

    return jax.jit(jax.grad(loss))


@pytest.mark.slow
def test_eight_devices_compute_as_one():
    model, params = built()
    alone = gradient(model)(params, INPUTS)
    mesh = sharding.make_mesh({"stage": 2, "context": 2, "fsdp": 2})
    with sharding.use_mesh(mesh):
        there = gradient(model)(
            jax.device_put(params, sharding.shardings(mesh, partition(), params)),
            sharding.place_batch(mesh, INPUTS))
    for a, b in zip(jax.tree.leaves(there), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max()))


@pytest.mark.parametrize("options, message", [
    ({"variant": "M/2"}, 'no variant "M/2"'), ({"depth": 1}, "expected at least two blocks"),
    ({"width": 18, "num_heads": 3}, "divides by the heads and by 4")])
def test_impossible_dimensions_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        dit.make(**{**dit.TINY, **options})


def test_inputs_that_do_not_fit_are_refused():
    model = dit.make(**dit.TINY)
    with pytest.raises(ConfigError, match="num_classes of the model to the pretext's"):
        model.init(jax.random.key(0), INPUTS)
    with pytest.raises(ConfigError, match="of 1 channels whose sides are multiples of 2 but got"):
        model.init(jax.random.key(0), {"image": np.zeros((1, 8, 8, 3), np.float32)})
