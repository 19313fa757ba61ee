"""The vision transformer: visible subsets, pooling, variants and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.core.tree import count, named_leaves
from ssljax.models import vit

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


def test_images_of_another_shape_are_refused():
    model, params = built()
    with pytest.raises(ConfigError, match=r"images of shape \(8, 8, 1\) but got \(8, 8, 3\)"):
        encode(model, params, image=np.zeros((1, 8, 8, 3), np.float32))
