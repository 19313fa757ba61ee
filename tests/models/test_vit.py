"""The vision transformer: visible subsets, pooling, variants and refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.core.tree import count, named_leaves
from ssljax.models import vit
from ssljax.train.layout import partition

IMAGES = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)


def built(**options):
    model = vit.make(**{**vit.TINY, **options})
    params, stats = jax.jit(model.init)(jax.random.key(0), {"image": jnp.asarray(IMAGES)})
    assert stats == {}
    return model, params


def encode(model, params, image=IMAGES, **inputs):
    return jax.jit(model.apply)(params, {"image": jnp.asarray(image), **inputs})


def test_pooled_is_the_mean_of_the_sequence():
    outputs = encode(*built())
    assert outputs["sequence"].shape == (3, 16, 16)
    np.testing.assert_allclose(outputs["pooled"], outputs["sequence"].mean(axis=1), rtol=1e-5)


def test_pooled_is_the_class_token_when_asked():
    outputs = encode(*built(pool="class"))
    assert outputs["sequence"].shape == (3, 17, 16)
    np.testing.assert_array_equal(outputs["pooled"], outputs["sequence"][:, 0])


@pytest.mark.parametrize("pool", ["mean", "class"])
def test_all_patches_visible_equals_the_whole_image(pool):
    model, params = built(pool=pool)
    whole = encode(model, params)
    same = encode(model, params, visible=jnp.tile(jnp.arange(16), (3, 1)))
    np.testing.assert_allclose(same["sequence"], whole["sequence"], atol=1e-6)


def test_order_of_visible_patches_only_reorders_the_sequence():
    model, params = built()
    ids = jnp.array([[3, 7, 1], [0, 9, 15], [4, 2, 8]])
    ahead, back = (encode(model, params, visible=v)["sequence"] for v in (ids, ids[:, ::-1]))
    np.testing.assert_allclose(ahead[:, ::-1], back, atol=1e-5)


def test_hidden_pixels_do_not_reach_the_sequence():
    model, params = built()
    ids = jnp.array([[0, 5]] * 3)                      # patches 0 and 5: rows 0-1 and 2-3
    changed = IMAGES.copy()
    changed[:, 4:] += 1
    before, after = (encode(model, params, image=x, visible=ids)["sequence"]
                     for x in (IMAGES, changed))
    np.testing.assert_array_equal(before, after)
    changed[:, 0, 0] += 1
    assert np.abs(encode(model, params, image=changed, visible=ids)["sequence"] - before).max() > 0


def test_position_of_a_patch_matters():
    model, params = built()
    flat = np.ones_like(IMAGES)
    sequence = encode(model, params, image=flat)["sequence"]
    assert np.abs(sequence[0, 0] - sequence[0, 1]).max() > 1e-3


def test_scanned_and_unrolled_layers_are_one_function():
    scan, params = built(layers="scan")
    unroll, same = built(layers="unroll")
    jax.tree.map(np.testing.assert_array_equal, params, same)
    np.testing.assert_allclose(encode(scan, params)["pooled"], encode(unroll, params)["pooled"],
                               atol=1e-5)


def test_variant_has_the_published_size():
    model = vit.make(variant="S/16", image_size=224)
    params, _ = jax.eval_shape(model.init, jax.random.key(0),
                               {"image": jnp.zeros((1, 224, 224, 3))})
    # ViT-S/16 with a 1000-way head (385,000), a learnt position table (75,648), a class token
    # (384) and biases of queries, keys, values and outputs (12 * 1536), none of which we have.
    assert count(params) == 22_050_664 - 385_000 - 75_648 - 384 - 12 * 1536
    assert named_leaves(params)["w_patch"].shape == (768, 384)


def test_told_dimensions_win_over_the_variant():
    told = vit.dimensions("Ti/16", 0, 3, 0, 0)
    assert told == (192, 3, 3, 16)


@pytest.mark.parametrize(("options", "message"), [
    ({"variant": "X/4"}, 'no variant "X"'),
    ({"variant": "S"}, 'no patch size; write for example "S/16"'),
    ({"width": 0, "depth": 0}, "vit needs width, depth"),
    ({"width": 20, "num_heads": 3}, "width 20 is not a multiple of its 3 heads"),
    ({"patch_size": 3}, "image_size 8 is not a multiple of patch_size 3"),
])
def test_impossible_dimensions_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        vit.make(**{**vit.TINY, **options})


@pytest.mark.parametrize("shape", [(1, 8, 8, 3), (1, 8, 7, 1)])
def test_images_that_do_not_fit_are_refused(shape):
    model, params = built()
    with pytest.raises(ConfigError, match="of 1 channels whose sides are multiples of 2 but got"):
        encode(model, params, image=np.zeros(shape, np.float32))


@pytest.mark.parametrize("variant, millions", [("Ti/16", 5.5), ("S/16", 21.6), ("B/16", 85.6),
                                               ("L/16", 303), ("H/14", 631), ("g/14", 1134)])
def test_variants_have_their_published_sizes(variant, millions):
    """Of Dosovitskiy et al. and Oquab et al., without heads; ours has no biases in attention."""
    mlp = "swiglu" if variant == "g/14" else "gelu"
    model = vit.make(variant=variant, image_size=224, mlp=mlp)
    params, _ = jax.eval_shape(model.init, jax.random.key(0),
                               {"image": jnp.zeros((1, 224, 224, 3))})
    assert count(params) / 1e6 == pytest.approx(millions, rel=0.01)


FULL = {"pool": "class_mean", "registers": 3, "mask_token": True, "layer_scale": 0.1, "collect": 2,
        "positions": "rope", "mlp": "swiglu", "drop_path": 0.5, "num_heads": 2}


@pytest.mark.parametrize("pool", ["mean", "class", "class_mean"])
def test_tokens_come_in_order(pool):
    outputs = encode(*built(pool=pool, class_token=True, registers=2))
    assert outputs["sequence"].shape == (3, 1 + 2 + 16, 16)
    np.testing.assert_array_equal(outputs["class"], outputs["sequence"][:, 0])
    np.testing.assert_array_equal(outputs["patches"], outputs["sequence"][:, 3:])
    parts = {"mean": [outputs["patches"].mean(axis=1)], "class": [outputs["class"]]}
    parts["class_mean"] = parts["class"] + parts["mean"]
    np.testing.assert_allclose(outputs["pooled"], np.concatenate(parts[pool], -1), atol=1e-6)


def test_registers_change_no_shape_but_the_sequences():
    without, with_them = (encode(*built(registers=n)) for n in (0, 4))
    assert without["sequence"].shape[1] + 4 == with_them["sequence"].shape[1]
    for name in ("pooled", "patches"):
        assert without[name].shape == with_them[name].shape
    assert "class" not in with_them


@pytest.mark.parametrize("positions", ["sincos", "rope"])
@pytest.mark.parametrize("size", [(4, 4), (12, 12), (4, 8)], ids=str)
def test_other_sizes_run(positions, size):
    model, params = built(positions=positions, num_heads=2)
    outputs = encode(model, params, image=np.ones((2, *size, 1), np.float32))
    assert outputs["patches"].shape == (2, size[0] * size[1] // 4, 16)


def test_rotary_positions_tell_patches_apart():
    """All patches of a flat image are alike; attention must see where they are."""
    model, params = built(positions="rope")
    images = np.zeros_like(IMAGES)
    images[:, :2, :2] = 5
    patches = encode(model, params, image=images)["patches"]
    assert np.abs(patches[0, 5] - patches[0, 15]).max() > 1e-4
    everywhere = encode(model, params, image=np.ones_like(IMAGES))["patches"]
    np.testing.assert_allclose(everywhere, everywhere[:, :1].repeat(16, 1), atol=1e-5)


def test_a_mask_token_stands_for_the_pixels_of_hidden_patches():
    model, params = built(mask_token=True)
    hidden = jnp.tile(jnp.arange(16) == 5, (3, 1))                    # rows 2-3, columns 2-3
    changed = IMAGES.copy()
    changed[:, 2:4, 2:4] += 1
    before, after = (encode(model, params, image=x, hidden=hidden)["sequence"]
                     for x in (IMAGES, changed))
    np.testing.assert_array_equal(before, after)
    plain = encode(model, params)["sequence"]
    assert np.abs(plain - before).max() > 1e-3
    none = encode(model, params, hidden=jnp.zeros((3, 16), bool))["sequence"]
    np.testing.assert_allclose(none, plain, atol=1e-6)


def test_init_that_sees_hidden_declares_the_mask_token():
    model = vit.make(**vit.TINY)
    inputs = {"image": jnp.asarray(IMAGES), "hidden": jnp.zeros((3, 16), bool)}
    assert "mask_token" in jax.eval_shape(model.init, jax.random.key(0), inputs)[0]
    assert "mask_token" not in built()[1]


def test_causal_patches_do_not_see_later_ones():
    model, params = built(causal=True)
    changed = IMAGES.copy()
    changed[:, 4:] += 1                                              # patches 8 to 15
    before, after = (encode(model, params, image=x)["patches"] for x in (IMAGES, changed))
    np.testing.assert_allclose(before[:, :8], after[:, :8], atol=1e-6)
    assert np.abs(before[:, 8:] - after[:, 8:]).max() > 1e-3


@pytest.mark.parametrize("layers", ["scan", "unroll"])
def test_collected_layers_are_what_the_last_mlps_add(layers):
    """At a scale of zero in all of the last block but its mlp, the stream tells."""
    model, params = built(collect=2, layer_scale=1.0, layers=layers, registers=1)
    blocks = params["encoder"]["blocks"]
    silent = {**params, "encoder": {**params["encoder"], "blocks": {
        **blocks, "gamma_mlp": blocks["gamma_mlp"].at[1].set(0)}}}
    kept = encode(model, params)["layers"]
    assert kept.shape == (2, 3, 16, 16)
    np.testing.assert_allclose(encode(model, silent)["layers"], kept, atol=1e-6)
    one, same = built(collect=1, layer_scale=1.0, layers=layers, registers=1)
    np.testing.assert_allclose(encode(one, same)["layers"], kept[1:], atol=1e-6)
    norm = {"scale": jnp.ones(16), "bias": jnp.zeros(16)}
    streams = [encode(model, {**p, "encoder": {**p["encoder"], "norm": norm}})["patches"]
               for p in (params, silent)]
    assert np.abs(streams[0] - streams[1]).max() > 1e-3


def test_layer_scale_starts_where_told():
    _, params = built(layer_scale=1e-5)
    for name in ("gamma_attention", "gamma_mlp"):
        np.testing.assert_array_equal(params["encoder"]["blocks"][name],
                                      np.full((2, 16), 1e-5, np.float32))


def train(model, params, image=IMAGES, seed=0):
    key = jax.random.key(seed)
    return jax.jit(functools.partial(model.apply, train=True))(
        params, {"image": jnp.asarray(image)}, key=key)["patches"]


def test_without_drop_path_training_is_evaluation():
    model, params = built()
    np.testing.assert_array_equal(train(model, params), encode(model, params)["patches"])


@pytest.mark.parametrize(
    "layers", ["scan", pytest.param("unroll", marks=pytest.mark.slow)])
def test_paths_drop_whole_rows_and_only_of_later_blocks(layers):
    """The first block's rate is 0; where the second is dropped, one block is left."""
    model, params = built(drop_path=0.5, layers=layers)
    rows = np.repeat(IMAGES[:1], 64, axis=0)
    seen = np.asarray(train(model, params, rows))
    kinds = np.unique(seen.round(4).reshape(64, -1), axis=0)
    assert len(kinds) == 4                       # attention kept or not, times mlp kept or not
    blocks = jax.tree.map(lambda w: w[:1], params["encoder"]["blocks"])
    short, _ = built(depth=1)
    alone = encode(short, {**params, "encoder": {**params["encoder"], "blocks": blocks}},
                   image=IMAGES[:1])["patches"]
    both_dropped = np.abs(seen - np.asarray(alone)).max(axis=(1, 2)) < 1e-4
    assert 0.1 < both_dropped.mean() < 0.45                              # a quarter
    assert np.array_equal(train(model, params, rows), seen)
    assert not np.array_equal(train(model, params, rows, seed=1), seen)


def test_a_uniform_rate_drops_the_first_block_too():
    model, params = built(drop_path=0.5, drop_path_uniform=True)
    seen = np.asarray(train(model, params, np.repeat(IMAGES[:1], 256, axis=0)))
    kinds = np.unique(seen.round(4).reshape(256, -1), axis=0)
    assert len(kinds) == 16                      # two branches of two blocks, each kept or not


def test_paths_are_dropped_without_bias():
    """At so small a scale that blocks add up, the mean over draws is the network without drops."""
    model, params = built(drop_path=0.5, layer_scale=1e-3)
    rows = np.repeat(IMAGES[:1], 1024, axis=0)
    added = [np.asarray(f).mean(axis=0) for f in (
        train(model, params, rows), encode(model, params, image=IMAGES[:1])["patches"])]
    still, _ = built(depth=1, layer_scale=1e-3)
    none = jax.tree.map(lambda w: 0 * w[:1], params["encoder"]["blocks"])
    base = encode(still, {**params, "encoder": {**params["encoder"], "blocks": none}},
                  image=IMAGES[:1])["patches"][0]
    np.testing.assert_allclose(added[0] - base, added[1] - base, atol=4e-4)
    assert np.abs(added[1] - base).max() > 2e-3


def test_dropping_needs_a_key():
    model, params = built(drop_path=0.5)
    with pytest.raises(ConfigError, match="drop_path = 0.5 needs a key"):
        model.apply(params, {"image": jnp.asarray(IMAGES)}, train=True)


def test_a_frozen_projection_gets_no_gradient():
    model, params = built(freeze_patch=True)
    grads = jax.grad(lambda p: jnp.sum(encode(model, p)["pooled"] ** 3))(params)
    assert not np.any(grads["w_patch"])
    assert not np.any(grads["b_patch"])
    assert np.any(grads["encoder"]["blocks"]["mlp"]["w_up"])


@functools.cache
def full():
    """Return model, weights, inputs and what training with every option gives on one device."""
    model, params = built(**FULL)
    inputs = {"image": np.random.default_rng(1).random((8, 8, 8, 1), np.float32),
              "hidden": np.arange(128).reshape(8, 16) % 3 == 0}
    return model, params, inputs, jax.jit(value_and_gradient(model))(params, inputs)


def value_and_gradient(model):
    def loss(params, inputs):
        out = model.apply(params, inputs, key=jax.random.key(1), train=True)
        return sum(jnp.sum(jnp.sin(out[n])) for n in ("pooled", "patches", "class", "layers")), out

    return lambda params, inputs: jax.grad(loss, has_aux=True)(params, inputs)


@pytest.mark.parametrize("sizes, kind", [
    ({"data": 2, "context": 2, "tensor": 2}, AxisType.Explicit),
    ({"stage": 2, "fsdp": 4}, AxisType.Auto),
    pytest.param({"data": 2, "context": 2, "tensor": 2}, AxisType.Auto, marks=pytest.mark.slow),
    pytest.param({"stage": 2, "fsdp": 4}, AxisType.Explicit, marks=pytest.mark.slow)], ids=str)
def test_eight_devices_compute_and_drop_the_same(sizes, kind):
    """20 tokens a row and, of two devices along context, one more."""
    model, params, inputs, (grads, out) = full()
    mesh = sharding.make_mesh(sizes, kind)
    with sharding.use_mesh(mesh):
        laid_out = sharding.shardings(mesh, partition(), params)
        there = jax.device_put(params, laid_out)
        rows = sharding.place_batch(mesh, inputs)
        far_grads, far = jax.jit(value_and_gradient(model))(there, rows)
    for name in ("pooled", "sequence", "layers"):
        np.testing.assert_allclose(far[name], out[name], atol=2e-5, err_msg=name)
    for a, b in zip(jax.tree.leaves(far_grads), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max()))


@pytest.mark.parametrize(("options", "message"), [
    ({"positions": "rope", "num_heads": 8}, "heads are 2 wide; rope of two axes needs"),
    ({"drop_path": 1.0}, "drop_path = 1.0 is not a rate"),
    ({"collect": 3}, "collect = 3 and registers = 0 of a network of 2 blocks"),
])
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        vit.make(**{**vit.TINY, **options})


def test_learned_positions_are_added_to_patches_of_one_grid():
    model = vit.make(**vit.TINY, positions="learned", mlp="gelu_erf", attention_bias=True,
                     norm_epsilon=1e-12)
    image = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    params, _ = model.init(jax.random.key(0), {"image": image})
    assert params["position_table"].shape == (16, 16)
    assert params["encoder"]["blocks"]["attention"]["b_qkv"].shape == (2, 3, 2, 8)
    swapped = image.copy()
    swapped[:, :2, :2], swapped[:, 2:4, :2] = image[:, 2:4, :2], image[:, :2, :2]
    rows = np.r_[4, 1:4, 0, 5:16]                            # patches 0 and 4 of a grid of 4 x 4
    moved = {**params, "position_table": params["position_table"][rows]}
    first, second = (model.apply(p, {"image": x})["pooled"]
                     for p, x in ((params, image), (moved, swapped)))
    np.testing.assert_allclose(first, second, atol=1e-5)
    with pytest.raises(ConfigError, match="4 x 4 patches and reads 3 x 3"):
        model.apply(params, {"image": image[:, :6, :6]})
