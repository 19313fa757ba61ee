"""One random crop of every image and the patches of it that are hidden, for masked methods.

The augmentations of MAE, https://arxiv.org/abs/2111.06377 (appendix A.1): crop and flip only.
Reads records {"image": uint8 [H, W, C], "id"}; the device part replaces image by float32
[size, size, C] and adds hidden bool [N], True on a fixed number of patches.
"""

from collections.abc import Sequence

import jax

from ssljax.augment.crop import Method, crop_resize, random_box
from ssljax.augment.flip import random_flip
from ssljax.augment.patch_mask import hidden_count, random_mask
from ssljax.augment.pixels import standardise, to_unit
from ssljax.core.types import Example, Key, Pretext
from ssljax.nn.patches import patch_grid
from ssljax.pretext.image import image_format

TINY = {"size": 8, "patch_size": 2, "channels": 1}


def make(*, size: int, patch_size: int, ratio: float = 0.75, source_size: int = 0,
         channels: int = 3, min_area: float = 0.2, max_area: float = 1.0, method: Method = "cubic",
         flip_probability: float = 0.5, mean: Sequence[float] = (0.5,),
         std: Sequence[float] = (0.5,)) -> Pretext:
    """Return the pretext.

    Args:
        size: height and width of a crop, and of images in evaluation, in pixels.
        patch_size: side of a patch in pixels; divides `size`.
        ratio: fraction of patches that are hidden, the same number in every image.
        source_size: height and width of stored images; `size` unless told.
        channels: 1 or 3.
        min_area: smallest fraction of the image that a crop covers.
        max_area: largest.
        method: interpolation of crops.
        flip_probability: of mirroring; 0 where left and right mean something.
        mean: of each channel, in [0, 1] units.
        std: of each channel, in [0, 1] units.
    """
    images = image_format(source_size, size, channels, mean, std)
    patches = patch_grid(size, patch_size) ** 2
    count = hidden_count(patches, ratio)

    def views(key: Key, example: Example) -> Example:
        k_crop, k_flip, k_mask = jax.random.split(key, 3)
        image = to_unit(example["image"])
        box = random_box(k_crop, *image.shape[:2], min_area=min_area, max_area=max_area)
        image = crop_resize(image, box, size=size, method=method).clip(0, 1)   # cubic overshoots
        image = random_flip(k_flip, image, probability=flip_probability)
        return {"image": standardise(image, images.mean, images.std),
                "hidden": random_mask(k_mask, patches, count=count)}

    return Pretext(images.example, images.plain, views, images.spec())
