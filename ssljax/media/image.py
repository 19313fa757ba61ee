"""Image files to pixels on the host, with Pillow: any mode, upright, or a counted reason why not.

A file that cannot be decoded raises UnreadableRecordError with one of these reasons: empty,
not_an_image, too_large (a decompression bomb), truncated, damaged, unsupported. The stream draws
another record in its place and counts them; nothing a file contains ends a run.
"""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ssljax.core.errors import UnreadableRecordError

Box = tuple[float, float, float, float]      # left, upper, right, lower, as Pillow has them

MAX_PIXELS = 89_478_485      # a quarter of a gigabyte of colour; where Pillow begins to warn
ORIENTATION = 0x0112         # the EXIF tag
SLACK = 2                    # a JPEG is decoded at least this many times larger than asked


def open_image(data: bytes, *, at_least: int = 0) -> Image.Image:
    """Return the image in a file, decoded and upright.

    Args:
        data: the file.
        at_least: both sides may shrink to this many pixels while decoding, which a JPEG does many
            times faster; 0 keeps all pixels.

    Raises:
        UnreadableRecordError: it cannot be decoded.
    """
    if not data:
        raise UnreadableRecordError("An image file is empty.", reason="empty")
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError(f"{image.width} by {image.height} pixels")
        if at_least:
            image.draft(None, (SLACK * at_least, SLACK * at_least))
        image.load()
        return upright(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise UnreadableRecordError(f"An image is too large: {err}.", reason="too_large") from err
    except UnidentifiedImageError as err:
        raise UnreadableRecordError(f"A file is no image: it begins {data[:8]!r}.",
                                    reason="not_an_image") from err
    except Exception as err:     # decoders raise whatever damaged bytes lead them to
        reason = "truncated" if "truncated" in str(err) else "damaged"
        raise UnreadableRecordError(f"An image is {reason}: {type(err).__name__}: {err}.",
                                    reason=reason) from err


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says; damaged EXIF says nothing."""
    try:
        turned = image.getexif().get(ORIENTATION, 1) != 1
    except Exception:            # the tags of a file whose pixels are sound
        return image
    return ImageOps.exif_transpose(image) if turned else image


def to_channels(image: Image.Image, channels: int) -> Image.Image:
    """Return an image of mode "L" (1 channel) or "RGB" (3), as a viewer would show it.

    Palettes and CMYK are resolved, what is transparent shows white, 16 bits become 8.

    Raises:
        UnreadableRecordError: its numbers have no known range.
    """
    mode = {1: "L", 3: "RGB"}[channels]
    if image.mode == "I" or image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.float64).clip(0, 65535)
        image = Image.fromarray(np.round(deep / 257).astype(np.uint8))
    if image.mode in ("F", "LAB"):
        raise UnreadableRecordError(f"An image has mode {image.mode}, which has no range that a "
                                    "screen could show.", reason="unsupported")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(mode)


def resize(image: Image.Image, box: Box, size: int) -> Image.Image:
    """Return a box of an image at [size, size], cubic and antialiased."""
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box)


def centre_square(image: Image.Image) -> Box:
    """Return the largest centred square: resized, it is a resized shorter side and its centre."""
    side = min(image.size)
    left, upper = (image.width - side) / 2, (image.height - side) / 2
    return left, upper, left + side, upper + side


def random_square(rng: np.random.Generator, image: Image.Image, *, min_area: float,
                  max_area: float) -> Box:
    """Draw a box of random area and aspect, as ssljax.augment.crop.random_box does on the device.

    Args:
        rng: of the record and epoch.
        image: where from.
        min_area: smallest fraction of the image.
        max_area: largest.
    """
    area = rng.uniform(min_area, max_area) * image.width * image.height
    aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    width = min(np.sqrt(area * aspect), image.width)
    height = min(np.sqrt(area / aspect), image.height)
    left, upper = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    return left, upper, min(left + width, image.width), min(upper + height, image.height)


def to_array(image: Image.Image) -> np.ndarray:
    """Return uint8 [H, W, C] of an image of mode "L" or "RGB"."""
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array
