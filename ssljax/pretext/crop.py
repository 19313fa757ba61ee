"""One random crop of every image, mirrored by chance: for methods that generate images.

Reads records {"image": a file's bytes or uint8 [H, W, C], "id"}; the device part replaces image by
float32 [size, size, C].
"""

from collections.abc import Sequence

import jax

from ssljax.augment.crop import Method, random_crop
from ssljax.augment.flip import random_flip
from ssljax.augment.pixels import from_standard, standardise, to_unit
from ssljax.core.types import Batch, Example, Key, Pretext
from ssljax.pretext.image import HostCrop, image_format

TINY = {"size": 8, "channels": 1}


def make(*, size: int, source_size: int = 0, channels: int = 3, min_area: float = 1.0,
         max_area: float = 1.0, host_crop: HostCrop = "centre", method: Method = "cubic",
         flip_probability: float = 0.5, mean: Sequence[float] = (0.5,),
         std: Sequence[float] = (0.5,)) -> Pretext:
    """Return the pretext.

    Args:
        size: height and width of a crop, and of images in evaluation, in pixels.
        source_size: height and width of images as they reach the device; `size` unless told.
        channels: 1 or 3.
        min_area: smallest fraction of the image that a crop covers; 1 takes all of it, as a
            generator learns whatever cropping does to a picture.
        max_area: largest.
        host_crop: "centre" keeps the centre square of image files; "random" takes the crop itself
            while they are decoded.
        method: interpolation of crops on the device.
        flip_probability: of mirroring; 0 where left and right mean something.
        mean: of each channel, in [0, 1] units.
        std: of each channel, in [0, 1] units.
    """
    areas, on_host = (min_area, max_area), host_crop == "random"
    images = image_format(source_size, size, channels, mean, std, crops=int(on_host), areas=areas)

    def views(key: Key, example: Example) -> Example:
        k_crop, k_flip = jax.random.split(key)
        image = to_unit(example["image"])
        image = random_crop(k_crop, image, size=size, areas=areas, method=method,
                            cropped=on_host or min_area == 1)
        image = random_flip(k_flip, image, probability=flip_probability)
        return {"image": standardise(image, images.mean, images.std)}

    def render(batch: Batch) -> jax.Array:
        return from_standard(batch["image"], images.mean, images.std).clip(0, 1)

    return Pretext(images.example, images.plain, views, images.spec(), render)
