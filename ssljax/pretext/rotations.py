"""Every image upright and turned by 90, 180 and 270 degrees, for rotation prediction.

Gidaris et al. 2018, https://arxiv.org/abs/1803.07728 (section 3.1): all four copies of an image in
one batch work better than one at random. Reads records {"image", "id"}; the device part adds
rotated float32 [4, size, size, C], copy k turned by k quarter turns counter-clockwise.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.augment.crop import Method, random_crop
from ssljax.augment.flip import random_flip
from ssljax.augment.pixels import standardise, to_unit
from ssljax.core.types import Example, Key, Pretext
from ssljax.pretext.image import HostCrop, image_format

TINY = {"size": 8, "channels": 1}


def rotations(image: jax.Array) -> jax.Array:
    """Return [4, H, W, C]: a square image [H, W, C] turned by 0, 90, 180 and 270 degrees.

    Transposed and mirrored, never interpolated: there is no artefact to recognise a turn by.
    """
    turned = image.swapaxes(0, 1)
    return jnp.stack([image, turned[::-1], image[::-1, ::-1], turned[:, ::-1]])


def make(*, size: int, source_size: int = 0, channels: int = 3, min_area: float = 0.5,
         max_area: float = 1.0, host_crop: HostCrop = "centre", method: Method = "bilinear",
         flip_probability: float = 0.5, mean: Sequence[float] = (0.5,),
         std: Sequence[float] = (0.5,)) -> Pretext:
    """Return the pretext.

    Args:
        size: height and width of a copy, and of images in evaluation, in pixels.
        source_size: height and width of stored images; `size` unless told.
        channels: 1 or 3.
        min_area: smallest fraction of the image that a crop covers.
        max_area: largest.
        host_crop: "centre" keeps the centre square of image files, from which the device crops;
            "random" crops while they are decoded, from all their pixels.
        method: interpolation of crops on the device.
        flip_probability: of mirroring before turning.
        mean: of each channel, in [0, 1] units.
        std: of each channel, in [0, 1] units.
    """
    areas, on_host = (min_area, max_area), host_crop == "random"
    images = image_format(source_size, size, channels, mean, std, crops=int(on_host), areas=areas)

    def views(key: Key, example: Example) -> Example:
        k_crop, k_flip = jax.random.split(key)
        image = to_unit(example["image"])
        image = random_crop(k_crop, image, size=size, areas=areas, method=method, cropped=on_host)
        image = random_flip(k_flip, image, probability=flip_probability)
        return {"rotated": rotations(standardise(image, images.mean, images.std))}

    return Pretext(images.example, images.plain, views, images.spec())
