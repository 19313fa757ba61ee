"""Image files of every mode come out upright and 8 bit; damaged ones say why they do not."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ssljax.core.errors import UnreadableRecordError
from ssljax.media import image as decode

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def file_of(image: Image.Image, kind: str = "png", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(data: bytes, channels: int = 3) -> np.ndarray:
    return decode.to_array(decode.to_channels(decode.open_image(data), channels))


def smooth(height: int, width: int) -> Image.Image:
    """Return a picture that JPEG keeps nearly exactly: a slope of red and one of green."""
    down, right = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([down * 250 // height, right * 250 // width,
                                     np.full_like(down, 128)], -1).astype(np.uint8))


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff", "ppm"])
def test_lossless_files_come_back_to_the_bit(kind):
    np.testing.assert_array_equal(pixels(file_of(Image.fromarray(PIXELS), kind)), PIXELS)


def test_grey_becomes_colour_and_colour_grey():
    grey = PIXELS[..., 0]
    np.testing.assert_array_equal(pixels(file_of(Image.fromarray(grey))), grey[..., None].repeat(
        3, axis=-1))
    luma = pixels(file_of(Image.fromarray(PIXELS)), channels=1)
    assert luma.shape == (6, 9, 1)
    np.testing.assert_allclose(luma[..., 0], PIXELS @ [0.299, 0.587, 0.114], atol=1)


def test_palettes_show_their_colours_and_cmyk_becomes_rgb():
    few = Image.fromarray(PIXELS).quantize(8)
    np.testing.assert_array_equal(pixels(file_of(few)), np.asarray(few.convert("RGB")))
    cmyk = Image.new("CMYK", (4, 3), (0, 255, 255, 0))               # red ink: no cyan
    np.testing.assert_allclose(pixels(file_of(cmyk, "jpeg"))[1, 1], [255, 0, 0], atol=3)


def test_what_is_transparent_shows_white():
    alpha = np.concatenate([PIXELS, np.full((6, 9, 1), 255, np.uint8)], -1)
    alpha[2, 3, 3], alpha[4, 5] = 0, (0, 0, 0, 51)
    shown = pixels(file_of(Image.fromarray(alpha)))
    assert shown[2, 3].tolist() == [255] * 3 and shown[4, 5].tolist() == [204] * 3
    np.testing.assert_array_equal(shown[0], PIXELS[0])


def test_sixteen_bits_become_eight():
    deep = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    np.testing.assert_array_equal(pixels(file_of(Image.fromarray(deep)), 1)[0, :, 0],
                                  [0, 1, 128, 255])


@pytest.mark.parametrize(("orientation", "turn"), [
    (1, lambda x: x), (2, np.fliplr), (3, lambda x: np.rot90(x, 2)), (4, np.flipud),
    (5, lambda x: x.swapaxes(0, 1)), (6, lambda x: np.rot90(x, -1)),
    (7, lambda x: np.rot90(x, 2).swapaxes(0, 1)), (8, np.rot90)])
def test_pictures_stand_upright(orientation, turn):
    exif = Image.Exif()
    exif[decode.ORIENTATION] = orientation
    np.testing.assert_array_equal(pixels(file_of(Image.fromarray(PIXELS), exif=exif)),
                                  turn(PIXELS))


def test_damaged_exif_does_no_harm():
    data = file_of(Image.fromarray(PIXELS), exif=b"Exif\0\0nothing of the kind")
    np.testing.assert_array_equal(pixels(data), PIXELS)


def test_a_jpeg_is_decoded_smaller_where_less_is_asked():
    data = file_of(smooth(400, 640), "jpeg", quality=95)
    assert decode.open_image(data).size == (640, 400)
    small = decode.open_image(data, at_least=50)
    assert min(small.size) >= decode.SLACK * 50 and small.size[0] < 640
    whole = decode.open_image(data)
    ours, best = (decode.to_array(decode.resize(x, decode.centre_square(x), 50)).astype(float)
                  for x in (small, whole))
    assert np.abs(ours - best).max() < 6


def bomb() -> bytes:
    """Return a PNG of a hundred bytes that says it is 60,000 by 60,000."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I",
                                                                        zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0"))


JPEG = file_of(smooth(64, 64), "jpeg")
PNG = file_of(Image.fromarray(PIXELS))


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "empty"), (b"<html>404</html>", "not_an_image"), (bytes(1000), "not_an_image"),
    (JPEG[:-20], "truncated"), (PNG[:60], "truncated"), (bomb(), "too_large"),
    (PNG[:45] + b"\0\1\2\3" + PNG[49:], "damaged")], ids=lambda x: x if isinstance(x, str) else "")
def test_what_cannot_be_decoded_says_why(data, reason):
    with pytest.raises(UnreadableRecordError) as caught:
        pixels(data)
    assert caught.value.reason == reason


def test_numbers_without_a_range_are_unsupported():
    data = file_of(Image.fromarray(PIXELS[..., 0].astype(np.float32)), "tiff")
    with pytest.raises(UnreadableRecordError, match="mode F") as caught:
        pixels(data)
    assert caught.value.reason == "unsupported"


def test_any_damage_is_unreadable_and_nothing_else():
    rng = np.random.default_rng(0)
    for data in (JPEG, PNG, file_of(Image.fromarray(PIXELS), "tiff"),
                 file_of(Image.fromarray(PIXELS).quantize(4), "gif"),
                 file_of(Image.fromarray(PIXELS), "webp")):
        for _ in range(60):
            broken = bytearray(data)
            for at in rng.integers(0, len(data), 3):
                broken[at] = rng.integers(256)
            try:
                pixels(bytes(broken[:rng.integers(1, len(data) + 1)]))
            except UnreadableRecordError as err:
                assert err.reason in ("not_an_image", "truncated", "damaged", "too_large",
                                      "unsupported")


def test_random_squares_lie_inside_and_have_the_asked_area():
    rng, image = np.random.default_rng(0), Image.new("L", (60, 40))
    boxes = np.array([decode.random_square(rng, image, min_area=0.1, max_area=0.5)
                      for _ in range(500)])
    left, upper, right, lower = boxes.T
    assert boxes.min() >= 0 and right.max() <= 60 and lower.max() <= 40
    area, aspect = (right - left) * (lower - upper) / 2400, (right - left) / (lower - upper)
    assert 0.1 - 1e-6 < area.min() < 0.12 and 0.47 < area.max() <= 0.5 + 1e-6
    assert 0.75 - 1e-6 < aspect.min() < 0.77 and 1.31 < aspect.max() < 4 / 3 + 1e-6
