"""Multi-block masks: one crop, static shapes, the same on any number of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.core.rng import record_id
from ssljax.pretext import multi_block
from ssljax.train.state import with_views

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
BATCH = {"image": IMAGES, "epoch": np.zeros(16, np.int32),
         "id": np.stack([record_id("test", i) for i in range(16)])}
NAMES = ("image", "context", "targets")


@functools.cache
def made(mesh=None):
    pretext = multi_block.make(**multi_block.TINY)
    with sharding.use_mesh(mesh):
        batch = jax.jit(lambda b: with_views(pretext.views, jax.random.key(0), b))(
            sharding.place_batch(mesh, BATCH))
        return {name: np.asarray(batch[name]) for name in NAMES}


def test_images_and_blocks_are_the_same_on_one_and_eight_devices():
    alone, many = made(), made(sharding.make_mesh({"data": 8}))
    np.testing.assert_allclose(many["image"], alone["image"], atol=1e-6)
    for name in ("context", "targets"):
        np.testing.assert_array_equal(many[name], alone[name])


def test_shapes_are_static_and_contexts_hold_no_targets():
    batch = made()
    assert batch["image"].shape == (16, 8, 8, 1)
    assert batch["context"].shape == (16, 4)
    assert batch["targets"].shape == (16, 2, 4)
    assert batch["context"].dtype == batch["targets"].dtype == np.int32
    for context, targets in zip(batch["context"], batch["targets"], strict=True):
        assert not set(context) & set(targets.ravel())
    assert len(np.unique(batch["targets"].reshape(16, -1), axis=0)) > 10


def test_a_whole_crop_is_the_plain_image():
    pretext = multi_block.make(**multi_block.TINY, min_area=1.0)
    record = {"id": BATCH["id"][0], "image": np.full((8, 8, 1), 77, np.uint8)}
    example = pretext.example(record, np.random.default_rng(0))
    views = jax.jit(pretext.views)(jax.random.key(0), jax.tree.map(jnp.asarray, example))
    np.testing.assert_allclose(views["image"], pretext.plain(record)["image"], atol=1e-5)


def test_example_has_the_arrays_of_spec():
    pretext = multi_block.make(**multi_block.TINY)
    example = pretext.example({"id": BATCH["id"][0], "image": IMAGES[0], "label": 1}, None)
    assert {n: (x.shape, str(x.dtype)) for n, x in example.items()} == pretext.spec


@pytest.mark.parametrize("options", [{"blocks": 4}, {"blocks": 0}, {"context_ratio": 0.0}])
def test_blocks_that_may_cover_the_image_are_refused(options):
    with pytest.raises(ConfigError, match="blocks that cannot cover the image"):
        multi_block.make(**{**multi_block.TINY, **options})
