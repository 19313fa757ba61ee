"""Images scaled, compressed and brightened are copies; others are not."""

import io

import numpy as np
import pyarrow as pa
import pytest

Image = pytest.importorskip("PIL.Image")

from data_pipelines.steps.image_duplicates import make  # noqa: E402
from ssljax.core.errors import ConfigError  # noqa: E402


def picture(seed, size=96):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def images(table):
    rows = []
    for seed in range(8):
        rows += [encode(picture(seed)), encode(picture(seed), "JPEG", quality=40),
                 encode(picture(seed).resize((61, 50)))]
    rows += [b"no image", None, b""]
    made = table({f"{i:02}": "" for i in range(len(rows))})
    quality = [3.0, 2.0, 1.0] * 8 + [0.0] * 3
    return made.append_column("image", pa.array(rows)).append_column("pixels", pa.array(quality))


@pytest.mark.parametrize("kind", ["difference", "frequency"])
def test_the_best_of_each_picture_survives(images, kind):
    rows = make(kind=kind, within=10, quality="pixels")(images).to_pylist()
    assert [r["dropped"] for r in rows] == [None, "image_duplicate", "image_duplicate"] * 8 + (
        [None] * 3)
    survivor, apart = rows[1]["detail"].split()
    assert survivor == rows[0]["id"] == rows[1]["cluster"] and int(apart) <= 10


def test_the_order_of_rows_does_not_matter(images):
    expected = make()(images).to_pylist()
    order = np.random.default_rng(0).permutation(images.num_rows)
    turned = make()(images.take(pa.array(order))).to_pylist()
    assert [turned[i]["detail"] for i in np.argsort(order)] == [r["detail"] for r in expected]


@pytest.mark.parametrize("kwargs", [{"within": 16}, {"kind": "other"}])
def test_settings_that_cannot_be_are_refused(kwargs):
    with pytest.raises(ConfigError, match="image_duplicates"):
        make(**kwargs)
