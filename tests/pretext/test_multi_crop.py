"""Multi-crop: large and small views, and blocks of hidden patches in some of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.core.rng import record_id
from ssljax.pretext import multi_crop
from ssljax.train.state import with_views

ROWS = 200
COLOURLESS = dict(jitter_probability=0.0, blur_probability=0.0, solarise_probability=0.0)
# Red is the row, green the column: a crop's mean colour says where it is, its range how large.
SLOPES = np.stack([*np.mgrid[:32, :32] * 8, np.zeros((32, 32), int)], -1).astype(np.uint8)


@functools.cache
def made(**options):
    pretext = multi_crop.make(**{"size": 16, "local_size": 8, "local_crops": 3, "patch_size": 2,
                                 "source_size": 32, **COLOURLESS, "gray_probability": 0.0,
                                 "flip_probability": 0.0, "mean": (0,), "std": (1,), **options})
    batch = {"image": np.broadcast_to(SLOPES, (ROWS, 32, 32, 3)),
             "epoch": np.zeros(ROWS, np.int32),
             "id": np.stack([record_id("test", i) for i in range(ROWS)])}
    views = jax.jit(lambda b: with_views(pretext.views, jax.random.key(0), b))(batch)
    return {name: np.asarray(x) for name, x in views.items()}


def area(crops: np.ndarray) -> np.ndarray:
    """Return the fraction of the image that each crop covers, from the range of its colours."""
    side = crops.shape[-2]
    heights, widths = (np.ptp(crops[..., c], axis=(-2, -1)) * 255 / 8 / (side - 1) * side / 32
                       for c in (0, 1))
    return heights * widths


def test_views_have_their_sizes_and_areas():
    views = made()
    assert views["view1"].shape == views["view2"].shape == (ROWS, 16, 16, 3)
    assert views["local"].shape == (ROWS, 3, 8, 8, 3)
    for name in ("view1", "view2"):
        assert 0.3 < area(views[name]).min() < 0.45 and area(views[name]).max() > 0.85
    assert area(views["local"]).min() < 0.09 and 0.3 < area(views["local"]).max() < 0.45


def test_all_views_of_an_image_are_different_crops():
    views = made()
    small = views["local"].mean(axis=(2, 3))[..., :2]
    assert np.abs(small[:, 0] - small[:, 1]).max() > 0.2
    assert np.abs(views["view1"] - views["view2"]).max() > 0.2


def test_blocks_are_hidden_in_half_of_the_views_and_a_drawn_fraction_of_their_patches():
    views = made()
    counts = np.stack([views["hidden1"].sum(1), views["hidden2"].sum(1)])
    assert views["hidden1"].shape == (ROWS, 64) and views["hidden1"].dtype == bool
    assert 0.4 < (counts == 0).mean() < 0.6
    assert counts[counts > 0].min() == 6 and 28 <= counts.max() <= 32
    assert len(np.unique(counts)) > 15
    assert np.mean((counts[0] == 0) == (counts[1] == 0)) < 0.7


def test_without_patches_nothing_is_hidden_and_without_local_crops_there_are_none():
    plain = multi_crop.make(size=8, local_crops=0, channels=1)
    views = jax.eval_shape(plain.views, jax.random.key(0), {"image": jnp.zeros((8, 8, 1))})
    assert set(views) == {"view1", "view2"}


def test_each_kind_of_view_has_probabilities_of_its_own():
    views = made(solarise_probability=(1.0, 0.0, 0.0))
    again = made()
    values = again["view1"]
    np.testing.assert_allclose(views["view1"], np.where(values < 128 / 255, values, 1 - values),
                               atol=1e-6)
    np.testing.assert_array_equal(views["view2"], again["view2"])
    np.testing.assert_array_equal(views["local"], again["local"])


def test_crops_made_on_the_host_are_of_the_whole_file_and_only_coloured_on_the_device():
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[..., 1] = np.arange(120) * 2                  # a colour of the places that a centre lacks
    plain = {"jitter_probability": 0.0, "blur_probability": 0.0, "solarise_probability": 0.0,
             "gray_probability": 0.0, "flip_probability": 0.0}
    pretext = multi_crop.make(size=12, local_size=6, local_crops=4, host_crop="random", **plain)
    examples = [pretext.example({"id": record_id("test", i), "image": wide},
                                np.random.default_rng(i)) for i in range(20)]
    assert {n: (x.shape, str(x.dtype)) for n, x in examples[0].items()} == pretext.spec
    places = np.concatenate([e["local"][..., 1].mean((1, 2)) for e in examples])
    assert places.min() < 60 and places.max() > 180    # left and right of the centre square
    views = jax.jit(pretext.views)(jax.random.key(0), jax.tree.map(jnp.asarray, examples[0]))
    for name, crop in zip(("view1", "view2"), examples[0]["image"], strict=True):
        np.testing.assert_allclose(views[name], crop / 127.5 - 1, atol=1e-5)
    np.testing.assert_allclose(views["local"], examples[0]["local"] / 127.5 - 1, atol=1e-5)
    alone = multi_crop.make(size=12, local_crops=0, host_crop="random", **plain)
    assert set(alone.spec) == {"image", "id"}


def test_small_views_are_three_sevenths_in_whole_patches():
    made = multi_crop.make(size=224, patch_size=16)
    shape = jax.eval_shape(made.views, jax.random.key(0), {"image": jnp.zeros((224, 224, 3))})
    assert shape["local"].shape == (6, 96, 96, 3)


@pytest.mark.parametrize(("options", "message"), [
    ({"local_size": 9}, "local_size 9: expected 1 to size, 8"),
    ({"local_max_area": 1.5}, "local areas"),
    ({"max_hidden": 1.0}, "min_hidden 0.1 and max_hidden 1.0"),
    ({"patch_size": 3}, "not a multiple of patch_size 3"),
    ({"blur_probability": (0.5, 0.5)}, "expected one probability, or 3")])
def test_impossible_crops_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        multi_crop.make(**{"size": 8, **options})
