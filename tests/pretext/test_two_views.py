"""Two views: a function of key and image; what both share, and in what they may differ."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError, DataError
from ssljax.core.rng import record_id
from ssljax.pretext import two_views
from ssljax.train.state import with_views

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8)
PRETEXT = two_views.make(**two_views.TINY)
RECORD = {"id": record_id("test", 0), "image": IMAGES[0], "label": 3}


def batch_of(images: np.ndarray, epoch: int = 0) -> dict[str, np.ndarray]:
    ids = np.stack([record_id("test", int(image.sum())) for image in images])
    return {"image": images, "id": ids, "epoch": np.full(len(images), epoch, np.int32)}


@jax.jit
def make_views(key, batch):
    return with_views(PRETEXT.views, key, batch)


def views_of(batch, seed=0):
    made = make_views(jax.random.key(seed), batch)
    return {name: np.asarray(made[name]) for name in ("view1", "view2")}


def test_views_depend_on_seed_epoch_and_record_and_not_on_the_place_in_the_batch():
    first = views_of(batch_of(IMAGES))
    moved = views_of(batch_of(IMAGES[::-1]))
    np.testing.assert_allclose(moved["view1"][::-1], first["view1"], atol=1e-6)
    assert np.abs(first["view1"] - first["view2"]).max() > 0.1
    for other in (views_of(batch_of(IMAGES), seed=1), views_of(batch_of(IMAGES, epoch=1))):
        assert np.abs(other["view1"] - first["view1"]).max() > 0.1
    same = views_of({**batch_of(IMAGES), "image": IMAGES[:1].repeat(16, axis=0)})
    assert np.abs(same["view1"][0] - same["view1"][1]).max() > 0.1


def test_a_flat_image_comes_back_plain_when_only_cropped_and_flipped():
    pretext = two_views.make(size=8, channels=1, jitter_probability=0.0, blur_probability=0.0)
    flat = np.full((8, 8, 1), 200, np.uint8)
    views = jax.jit(pretext.views)(jax.random.key(0), {"image": jnp.asarray(flat)})
    plain = pretext.plain({**RECORD, "image": flat})["image"]
    np.testing.assert_allclose(views["view1"], plain, atol=1e-5)
    np.testing.assert_allclose(views["view2"], plain, atol=1e-5)


def test_example_has_the_arrays_of_spec_and_no_label():
    example = PRETEXT.example(RECORD, np.random.default_rng(0))
    assert {n: (x.shape, str(x.dtype)) for n, x in example.items()} == PRETEXT.spec
    np.testing.assert_array_equal(example["image"], RECORD["image"])


def test_plain_standardises_and_resizes():
    pretext = two_views.make(size=6, source_size=12, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0))
    image = np.zeros((12, 12, 3), np.uint8) + np.array([0, 51, 255], np.uint8)
    plain = pretext.plain({**RECORD, "image": image})["image"]
    assert plain.shape == (6, 6, 3)
    assert isinstance(plain, np.ndarray)
    np.testing.assert_allclose(plain[2, 2], [-0.2, 0.0, 0.7], atol=1e-6)
    pillow = pytest.importorskip("PIL.Image")
    resized = [np.asarray(pillow.fromarray(COLOUR[..., c].astype(np.float32)).resize(
        (6, 6), pillow.Resampling.BICUBIC)) / 255 for c in range(3)]
    plain = two_views.make(size=6, source_size=12, mean=(0,), std=(1,)).plain(
        {**RECORD, "image": COLOUR})["image"]
    np.testing.assert_allclose(plain, np.stack(resized, -1), atol=0.01)


def test_colour_views_have_the_asked_shape():
    pretext = two_views.make(size=6, source_size=12)
    views = jax.jit(pretext.views)(jax.random.key(0), {"image": jnp.asarray(COLOUR)})
    assert views["view1"].shape == views["view2"].shape == (6, 6, 3)
    assert views["view1"].dtype == jnp.float32
    assert np.isfinite(views["view1"]).all()


def test_each_view_may_have_probabilities_of_its_own():
    """BYOL's asymmetry: of a white image the second view is always solarised, the first never."""
    pretext = two_views.make(size=4, jitter_probability=0.0, blur_probability=(1.0, 0.0),
                             solarise_probability=(0.0, 1.0))
    white = {"image": jnp.full((4, 4, 3), 255, jnp.uint8)}
    views = jax.jit(pretext.views)(jax.random.key(0), white)
    np.testing.assert_allclose(views["view1"], 1, atol=1e-5)
    np.testing.assert_allclose(views["view2"], -1, atol=1e-5)


def test_crops_made_on_the_host_are_only_coloured_on_the_device():
    options = dict(jitter_probability=0.0, gray_probability=0.0, blur_probability=0.0,
                   flip_probability=0.0)
    pretext = two_views.make(size=6, host_crop="random", **options)
    example = pretext.example({"id": RECORD["id"], "image": COLOUR}, np.random.default_rng(0))
    assert {n: (x.shape, str(x.dtype)) for n, x in example.items()} == pretext.spec
    views = jax.jit(pretext.views)(jax.random.key(0), jax.tree.map(jnp.asarray, example))
    for name, crop in zip(("view1", "view2"), example["image"], strict=True):
        np.testing.assert_allclose(views[name], crop / 127.5 - 1, atol=1e-5)


@pytest.mark.parametrize(("options", "message"), [
    ({"channels": 4}, "channels 4: expected 1"),
    ({"blur_probability": (1.0, 0.1, 0.5)}, "blur_probability .* expected one probability, or 2"),
    ({"solarise_probability": 1.2}, "solarise_probability 1.2"),
    ({"jitter": (0.4, 0.4)}, r"jitter \(0.4, 0.4\): expected"),
    ({"jitter": (0.4, 0.4, 0.4, 0.6)}, "hue at most 0.5"),
    ({"mean": (0.1, 0.2)}, r"mean \(0.1, 0.2\) has 2 values"),
])
def test_impossible_formats_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        two_views.make(**{"size": 8, **options})


@pytest.mark.parametrize("image", [COLOUR, IMAGES[0].astype(np.float32)], ids=["shape", "dtype"])
def test_images_of_another_shape_or_type_are_refused(image):
    with pytest.raises(DataError, match=r"expected uint8 \(8, 8, 1\)"):
        two_views.make(**two_views.TINY).example({**RECORD, "image": image}, None)
