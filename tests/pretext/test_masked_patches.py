"""Masked patches: one crop, and a mask of exact count."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.core.rng import record_id
from ssljax.pretext import masked_patches
from ssljax.train.state import with_views

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
BATCH = {"image": IMAGES, "epoch": np.zeros(16, np.int32),
         "id": np.stack([record_id("test", i) for i in range(16)])}


@functools.cache
def made(**options):
    pretext = masked_patches.make(**masked_patches.TINY, **options)
    batch = jax.jit(lambda b: with_views(pretext.views, jax.random.key(0), b))(BATCH)
    return {name: np.asarray(batch[name]) for name in ("image", "hidden")}


def test_every_image_hides_the_same_number_of_other_patches():
    batch = made()
    assert batch["image"].shape == (16, 8, 8, 1)
    assert batch["image"].dtype == np.float32
    assert set(batch["hidden"].sum(axis=1)) == {12}
    assert len(np.unique(batch["hidden"], axis=0)) > 10


@pytest.mark.parametrize(("options", "count"), [
    ({"kind": "block", "ratio": 0.4}, 6), ({"kind": "inverse_block", "ratio": 0.5}, 8),
    ({"block": 2, "ratio": 0.5}, 8)], ids=str)
def test_masks_of_blocks_hide_the_same_number_too(options, count):
    hidden = made(**options)["hidden"]
    assert set(hidden.sum(axis=1)) == {count}
    assert len(np.unique(hidden, axis=0)) > 3


def test_random_masks_may_hide_whole_squares():
    maps = made(block=2, ratio=0.5)["hidden"].reshape(-1, 2, 2, 2, 2)
    assert (maps == maps[:, :, :1, :, :1]).all()


def test_a_whole_crop_is_the_plain_image():
    pretext = masked_patches.make(**masked_patches.TINY, min_area=1.0, flip_probability=0.0)
    record = {"id": BATCH["id"][0], "image": np.full((8, 8, 1), 77, np.uint8)}
    example = pretext.example(record, np.random.default_rng(0))
    views = pretext.views(jax.random.key(0), jax.tree.map(jnp.asarray, example))
    np.testing.assert_allclose(views["image"], pretext.plain(record)["image"], atol=1e-5)


def test_example_has_the_arrays_of_spec():
    pretext = masked_patches.make(**masked_patches.TINY)
    example = pretext.example({"id": BATCH["id"][0], "image": IMAGES[0], "label": 1}, None)
    assert {n: (x.shape, str(x.dtype)) for n, x in example.items()} == pretext.spec


@pytest.mark.parametrize(("options", "message"), [
    ({"patch_size": 3}, "image_size 8 is not a multiple of patch_size 3"),
    ({"ratio": 1.0}, "hides 16 of 16 patches"),
    ({"block": 3}, "block 3: expected a divisor of the 4 patches"),
    ({"kind": "block", "ratio": 0.01}, "hides 0 of 16 patches"),
])
def test_impossible_masks_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        masked_patches.make(**{**masked_patches.TINY, **options})
