"""Records with files or arrays become fixed shapes on the host."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from ssljax.core.errors import ConfigError, DataError, UnreadableRecordError
from ssljax.core.rng import record_id
from ssljax.data.stream import stream_of
from ssljax.evals.features import read
from ssljax.pretext import crop
from ssljax.pretext.image import image_format


def file_of(height: int, width: int, kind: str = "png") -> bytes:
    """Return a picture whose red is the row, green the column, in 256ths of its side."""
    down, right = np.mgrid[:height, :width]
    slopes = [down * 255 / (height - 1), right * 255 / (width - 1), np.zeros_like(down)]
    file = io.BytesIO()
    Image.fromarray(np.stack(slopes, -1).astype(np.uint8)).save(file, kind)
    return file.getvalue()


def record(image) -> dict:
    return {"id": record_id("test", 0), "image": image, "label": 1}


def test_a_file_becomes_its_centre_square_at_the_stored_size():
    images = image_format(8, 4, 3, (0.5,), (0.5,))
    example = images.example(record(file_of(40, 80)), np.random.default_rng(0))
    assert {n: (x.shape, str(x.dtype)) for n, x in example.items()} == images.spec()
    whole = Image.open(io.BytesIO(file_of(40, 80))).crop((20, 0, 60, 40))
    expected = np.asarray(whole.resize((8, 8), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(example["image"].astype(int), expected, atol=1)
    plain = images.plain(record(file_of(40, 80)))["image"]
    assert plain.shape == (4, 4, 3) and plain.dtype == np.float32
    expected = np.asarray(whole.resize((4, 4), Image.Resampling.BICUBIC)) / 127.5 - 1
    np.testing.assert_allclose(plain, expected, atol=0.02)


def test_random_crops_on_the_host_are_of_the_whole_file_and_differ():
    images = image_format(0, 8, 3, (0.5,), (0.5,), crops=2, areas=(0.2, 0.5))
    example = images.example(record(file_of(40, 80)), np.random.default_rng(0))
    assert example["image"].shape == images.spec()["image"][0] == (2, 8, 8, 3)
    again = images.example(record(file_of(40, 80)), np.random.default_rng(0))
    np.testing.assert_array_equal(example["image"], again["image"])
    first, second = example["image"].astype(float)
    assert np.abs(first - second).max() > 10
    centres = [images.example(record(file_of(40, 80)), np.random.default_rng(i))
               ["image"][..., 1].mean() for i in range(60)]
    assert min(centres) < 75 and max(centres) > 180         # left and right of the centre square


def test_arrays_may_be_cropped_on_the_host_too():
    images = image_format(8, 8, 1, (0.5,), (0.5,), crops=1, areas=(0.5, 0.5))
    array = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20, 1)
    assert images.example(record(array), np.random.default_rng(0))["image"].shape == (8, 8, 1)


def test_arrays_of_another_shape_are_refused_and_damaged_files_are_unreadable():
    images = image_format(8, 8, 3, (0.5,), (0.5,))
    with pytest.raises(DataError, match=r"expected uint8 \(8, 8, 3\)"):
        images.example(record(np.zeros((9, 8, 3), np.uint8)), None)
    with pytest.raises(UnreadableRecordError):
        images.plain(record(file_of(9, 9)[:60]))


@pytest.mark.parametrize("areas", [(0.0, 1.0), (0.5, 0.4), (0.5, 1.5)])
def test_impossible_areas_are_refused(areas):
    with pytest.raises(ConfigError, match="min_area"):
        image_format(0, 8, 3, (0.5,), (0.5,), areas=areas)


@dataclasses.dataclass(frozen=True)
class Folder:
    """Twelve files, three of them damaged in two ways."""

    def __len__(self) -> int:
        return 12

    def read(self, indices):
        bad = {3: b"", 7: b"", 9: file_of(9, 9)[:60]}
        return [{"id": record_id("folder", int(i)), "image": bad.get(int(i), file_of(9, 12)),
                 "label": int(i)} for i in indices]

    def fingerprint(self):
        return {}


def test_training_draws_others_in_the_place_of_damaged_files_and_counts_them():
    stream = stream_of(Folder(), crop.make(size=4).example, batch_size=12, seed=0)
    rows, unread = stream.rows(0, 12)
    assert rows["image"].shape == (12, 4, 4, 3)
    assert unread["empty"] >= 2 and unread["truncated"] >= 1 and len(unread) == 2
    bad = np.stack([record_id("folder", i) for i in (3, 7, 9)])
    assert not (rows["id"][:, None] == bad).all(-1).any()


def test_judgements_leave_damaged_files_out_and_say_so(caplog):
    data = read(Folder(), crop.make(size=4).plain)
    assert data.labels.tolist() == [0, 1, 2, 4, 5, 6, 8, 10, 11]
    assert data.images.shape == (9, 4, 4, 3)
    assert "3 of 12 records to judge by cannot be read" in caplog.text
