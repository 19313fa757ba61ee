"""Residual networks: published sizes, stems, statistics, and one batch on any mesh."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.core.tree import count
from ssljax.models import resnet
from ssljax.train.layout import partition

IMAGES = np.random.default_rng(0).normal(size=(8, 8, 8, 1)).astype(np.float32)


@functools.cache
def built(**options):
    model = resnet.make(**{**resnet.TINY, **options})
    return model, *jax.jit(model.init)(jax.random.key(0), {"image": jnp.asarray(IMAGES)})


def shapes(size=224, **options):
    model = resnet.make(**options)
    image = {"image": jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)}
    params, stats = jax.eval_shape(model.init, jax.random.key(0), image)
    return params, jax.eval_shape(lambda p, s, i: model.apply(p, i, stats=s), params, stats, image)


@pytest.mark.parametrize("variant, with_head, width", [
    ("18", 11_689_512, 512), ("34", 21_797_672, 512), ("50", 25_557_032, 2048)])
def test_variants_have_their_published_sizes(variant, with_head, width):
    params, outputs = shapes(variant=variant)
    assert count(params) == with_head - 1000 * (width + 1)
    assert outputs["pooled"].shape == (2, width)
    assert outputs["sequence"].shape == (2, 49, width)


@pytest.mark.parametrize("stem, places", [
    ("imagenet", 1), ("small", 16), ("overlap", 4), ("patch", 1)])
def test_stems_reduce_images_of_32_pixels(stem, places):
    _, outputs = shapes(size=32, variant="18", stem=stem)
    assert outputs["sequence"].shape == (2, places, 512)


def reference(params, stats, x):
    """Return the last map of a network of two basic blocks, in loops of plain arrays."""
    def conv(x, w, stride):
        return jax.lax.conv_general_dilated(x, w, (stride, stride), [(w.shape[0] // 2,) * 2] * 2,
                                            dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def norm(x, weights, stats):
        y = (x - stats["mean"]) / np.sqrt(stats["variance"] + 1e-5)
        return y * weights["scale"] + weights["bias"]

    def layer(x, where, weights, stats, name, stride=1):
        y = conv(x, weights[f"conv{name}"]["w_conv"], stride)
        return norm(y, weights[f"norm{name}"], stats[f"norm{name}"])

    x = np.maximum(layer(x, "stem", params, stats, "_stem"), 0)
    for block, stride in (("stage0_block0", 1), ("stage1_block0", 2)):
        p, s = params[block], stats[block]
        y = layer(np.maximum(layer(x, block, p, s, "0", stride), 0), block, p, s, "1")
        x = layer(x, block, p, s, "_shortcut", stride) if stride == 2 else x
        x = np.maximum(x + y, 0)
    return x


def test_is_the_networks_equation():
    model, params, stats = built(zero_scale=False)
    stats = jax.tree.map(lambda s: s + 0.3, stats)
    outputs = model.apply(params, {"image": IMAGES}, stats=stats)
    expected = reference(params, stats, IMAGES)
    assert expected.shape == (8, 4, 4, 16)
    np.testing.assert_allclose(outputs["sequence"], expected.reshape(8, 16, 16), atol=1e-4)
    np.testing.assert_allclose(outputs["pooled"], expected.mean(axis=(1, 2)), atol=1e-4)


def test_blocks_start_as_the_identity():
    """With a last scale of 0 blocks of one width hand on what the stem gives."""
    long, stem = (m.apply(p, {"image": IMAGES}, stats=s)["pooled"]
                  for m, p, s in (built(depths=(n,), widths=(8,)) for n in (2, 0)))
    np.testing.assert_allclose(long, stem, atol=1e-6)


def test_the_last_scale_of_bottlenecks_starts_at_zero():
    _, params, _ = built(bottleneck=True, depths=(1,), widths=(8,))
    scales = [float(params["stage0_block0"][f"norm{i}"]["scale"].max()) for i in range(3)]
    assert scales == [1, 1, 0]


def test_statistics_move_in_training_only():
    model, params, stats = built()
    still = model.apply(params, {"image": IMAGES}, stats=stats)["stats"]
    jax.tree.map(np.testing.assert_array_equal, still, stats)
    moved = model.apply(params, {"image": IMAGES}, stats=stats, train=True)["stats"]
    assert jax.tree.structure(moved) == jax.tree.structure(stats)
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), moved, stats)
    assert all(jax.tree.leaves(changed))


def test_statistics_converge_to_those_of_the_batch():
    model, params, stats = built(zero_scale=False)
    step = jax.jit(functools.partial(model.apply, train=True))
    for _ in range(100):
        outputs = step(params, {"image": IMAGES}, stats=stats)
        stats = outputs["stats"]
    still = model.apply(params, {"image": IMAGES}, stats=stats)
    # Running variances are unbiased, the batch's are not: of 128 values they differ by 1 %.
    np.testing.assert_allclose(still["pooled"], outputs["pooled"], rtol=0.05, atol=0.02)


def gradient(model):
    def loss(params, stats, inputs):
        out = model.apply(params, inputs, stats=stats, train=True)
        return jnp.sum(jnp.sin(out["pooled"])) + jnp.sum(out["sequence"] ** 2), out["stats"]

    return jax.jit(jax.grad(loss, has_aux=True))


def test_eight_devices_normalise_one_batch():
    model, params, stats = built(zero_scale=False)
    alone = gradient(model)(params, stats, {"image": IMAGES})
    mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    with sharding.use_mesh(mesh):
        weights = jax.device_put((params, stats),
                                 sharding.shardings(mesh, partition(), (params, stats)))
        there = gradient(model)(*weights, sharding.place_batch(mesh, {"image": IMAGES}))
    for a, b in zip(jax.tree.leaves(there), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max()))


@pytest.mark.parametrize("options, message", [
    ({"variant": "19"}, 'no variant "19"; known: 18, 34, 50'),
    ({}, "tell a variant such as"), ({"depths": (1, 1), "widths": (8,)}, "as many of one as")])
def test_impossible_dimensions_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        resnet.make(**options)


def test_what_is_missing_or_does_not_fit_is_refused():
    model, params, stats = built()
    with pytest.raises(ConfigError, match="pass stats= to apply"):
        model.apply(params, {"image": IMAGES})
    with pytest.raises(ConfigError, match=r"images \[B, H, W, 1\] but got \(8, 8, 8, 3\)"):
        model.apply(params, {"image": np.zeros((8, 8, 8, 3))}, stats=stats)
