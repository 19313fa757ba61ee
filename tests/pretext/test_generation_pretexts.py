"""Pretexts of methods that generate: pairs of noise and image, and pixels as tokens."""

import json

import jax
import numpy as np
import pytest

from ssljax.core.errors import ConfigError, DataError
from ssljax.core.rng import record_id
from ssljax.nn.palette import make_palette, to_colours, to_tokens
from ssljax.pretext import flow_pairs, pixel_tokens

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (6, 6, 3)).astype(np.uint8)
RECORD = {"id": record_id("test", 0), "image": IMAGE, "label": 2}


def many(pretext, count=400):
    row = {name: x for name, x in pretext.example(RECORD, RNG).items() if name != "id"}
    keys = jax.random.split(jax.random.key(0), count)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: pretext.views(key, row)))(keys))


def test_pairs_are_an_image_and_standard_noise_at_a_random_time():
    views = many(flow_pairs.make(size=6, flip_probability=0.0))
    np.testing.assert_allclose(views["image"], np.broadcast_to(IMAGE / 127.5 - 1, (400, 6, 6, 3)),
                               atol=1e-5)
    assert abs(views["noise"].mean()) < 0.02
    assert abs(views["noise"].std() - 1) < 0.02
    logits = np.log(views["time"] / (1 - views["time"]))
    assert abs(logits.mean()) < 0.15
    assert abs(logits.std() - 1) < 0.15
    assert "label" not in views


def test_uniform_times_and_labels_of_which_some_are_dropped():
    pretext = flow_pairs.make(size=6, num_classes=5, drop_probability=0.25, time="uniform")
    assert pretext.spec["label"] == ((), "int32")
    views = many(pretext)
    assert set(views["label"].tolist()) == {2, 5}
    assert abs(np.mean(views["label"] == 5) - 0.25) < 0.07
    assert abs(np.mean(views["time"] < 0.25) - 0.25) < 0.07


def test_rendering_undoes_the_standardisation():
    pretext = flow_pairs.make(size=6, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1))
    image = pretext.plain(RECORD)["image"]
    np.testing.assert_allclose(pretext.render({"image": image}), IMAGE / 255, atol=1e-6)
    assert pretext.render({"image": 100 * image}).max() == 1


def test_a_label_beyond_the_classes_is_refused():
    with pytest.raises(DataError, match="label 2 .*expected 0 to 1"):
        flow_pairs.make(size=6, num_classes=2).example(RECORD, RNG)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_uniform_palette_has_the_nearest_colour_of_every_pixel(channels):
    palette = make_palette(5, "", channels)
    image = RNG.random((4, 4, channels)).astype(np.float32)
    tokens = np.asarray(to_tokens(image, palette))
    distance = ((image[..., None, :] - palette.colours) ** 2).sum(-1)
    assert len(palette.colours) == 5**channels
    assert np.array_equal(tokens, distance.argmin(-1))
    # What is a colour of the palette comes back exactly, by either way of looking it up.
    colours = np.asarray(to_colours(tokens, palette))
    assert np.array_equal(to_tokens(colours, palette), tokens)
    assert np.array_equal(to_tokens(image, palette._replace(levels=0)), tokens)
    assert np.abs(colours - image).max() <= 0.5 / 4 + 1e-6


def test_a_fitted_palette_is_read_from_its_file(tmp_path):
    file = tmp_path / "palette.json"
    file.write_text(json.dumps({"colours": [[0, 0, 0], [1, 0, 0], [0.5, 0.5, 0.5]]}))
    palette = make_palette(8, str(file), 3)
    assert to_tokens(np.array([[[0.9, 0.2, 0.1], [0.4, 0.4, 0.5]]], np.float32),
                     palette).tolist() == [[1, 2]]
    with pytest.raises(ConfigError, match="more of 1 values from 0 to 1"):
        make_palette(8, str(file), 1)
    with pytest.raises(ConfigError, match="fit_palette"):
        make_palette(8, str(tmp_path / "none.json"), 3)


def test_tokens_are_targets_one_place_later_behind_the_start():
    pretext = pixel_tokens.make(size=6, levels=3, flip_probability=0.0)
    views = many(pretext, count=1)
    targets = np.asarray(to_tokens(IMAGE / np.float32(255), make_palette(3, "", 3))).reshape(-1)
    assert np.array_equal(views["targets"][0], targets)
    assert views["tokens"][0].tolist() == [27, *targets[:-1].tolist()]
    assert views["positions"][0].tolist() == list(range(36))
    rendered = np.asarray(pretext.render({"targets": views["targets"]}))
    assert rendered.shape == (1, 6, 6, 3)
    assert np.abs(rendered[0] - IMAGE / 255).max() <= 0.25 + 1e-6
