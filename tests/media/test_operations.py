"""Declared operations do to the bit what training's own transform does, and are plain data."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from ssljax.augment.crop import centre_box, crop_resize
from ssljax.augment.pixels import standardise, to_unit
from ssljax.core.errors import ConfigError, DataError, UnreadableRecordError
from ssljax.media.operations import Preparation, prepare
from ssljax.pretext.image import image_format

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def test_arrays_are_resized_as_on_the_device_to_the_bit():
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 1.0)
    plain = image_format(12, 5, 3, mean, std).plain
    unit = to_unit(PIXELS)
    right = standardise(np.asarray(crop_resize(unit, centre_box(12, 12), size=5, method="cubic")),
                        mean, std)
    assert plain({"image": PIXELS})["image"].tobytes() == np.asarray(right).tobytes()


def test_files_are_resized_by_pillow_and_standardised():
    plain = image_format(12, 5, 3, (0.5,), (0.25,)).plain
    wide = np.concatenate([PIXELS, PIXELS, PIXELS], axis=1)
    small = Image.fromarray(wide).resize((5, 5), Image.Resampling.BICUBIC, box=(12, 0, 24, 12))
    right = (np.asarray(small).astype(np.float32) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(plain({"image": png(wide)})["image"], right, rtol=1e-6, atol=1e-6)


def test_operations_survive_json_and_answer_the_same():
    plain = image_format(12, 12, 3, (0.5,), (0.5,)).plain
    again = Preparation(json.loads(json.dumps(plain.inputs)))
    for value in (PIXELS, png(PIXELS)):
        assert again({"image": value})["image"].tobytes() == plain({"image": value})[
            "image"].tobytes()


def test_what_is_unknown_or_no_image_is_refused_by_name():
    with pytest.raises(ConfigError, match='no operation "read_imgae"; did you mean "read_image"'):
        prepare(b"", [{"name": "read_imgae"}])
    reading = [{"name": "read_image", "channels": 3, "stored_size": 12}]
    with pytest.raises(DataError, match=r"expected uint8 \(12, 12, 3\)"):
        prepare(PIXELS[:3], reading)
    with pytest.raises(UnreadableRecordError, match="found str"):
        prepare("a.png", reading)


def test_a_file_is_stretched_whole_by_the_filter_that_is_named():
    steps = [{"name": "read_image", "channels": 3, "stored_size": 5},
             {"name": "stretch", "size": 5, "filter": "bilinear"}]
    wide = np.concatenate([PIXELS, PIXELS[:, ::-1]], axis=1)
    right = Image.fromarray(wide).resize((5, 5), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(prepare(png(wide), steps),
                                  np.asarray(right).astype(np.float32) / np.float32(255))
    small = PIXELS[:5, :5]
    np.testing.assert_array_equal(prepare(small, steps), small.astype(np.float32) / np.float32(255))
    with pytest.raises(DataError, match="expected 5 by 5"):
        prepare(PIXELS, [{**steps[0], "stored_size": 12}, steps[1]])
