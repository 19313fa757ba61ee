"""One random crop of every image and the patches of it that are hidden, for masked methods.

The augmentations of MAE, https://arxiv.org/abs/2111.06377 (appendix A.1): crop and flip only.
Masks are random as MAE's, blocks as BEiT's (also of data2vec), or what is left around blocks, as
data2vec 2's; always of exactly the same number of patches. Reads records {"image": a file's bytes
or uint8 [H, W, C], "id"}; the device part replaces image by float32 [size, size, C] and adds hidden
bool [N], or [M, N] with M masks of one crop.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import jax

from ssljax.augment.block_mask import block_mask, inverse_block_mask
from ssljax.augment.crop import Method, random_crop
from ssljax.augment.flip import random_flip
from ssljax.augment.patch_mask import hidden_count, random_mask, spread_mask
from ssljax.augment.pixels import standardise, to_unit
from ssljax.core.errors import ConfigError
from ssljax.core.types import Example, Key, Pretext
from ssljax.nn.patches import patch_grid
from ssljax.pretext.image import HostCrop, image_format

TINY = {"size": 8, "patch_size": 2, "channels": 1}
Kind = Literal["random", "block", "inverse_block"]


def make(*, size: int, patch_size: int, ratio: float = 0.75, kind: Kind = "random", block: int = 0,
         masks: int = 1, source_size: int = 0, channels: int = 3, min_area: float = 0.2,
         max_area: float = 1.0, host_crop: HostCrop = "centre", method: Method = "cubic",
         flip_probability: float = 0.5, mean: Sequence[float] = (0.5,),
         std: Sequence[float] = (0.5,)) -> Pretext:
    """Return the pretext.

    Args:
        size: height and width of a crop, and of images in evaluation, in pixels.
        patch_size: side of a patch in pixels; divides `size`.
        ratio: fraction of patches that are hidden, the same number in every image.
        kind: "random" patches; "block": rectangles of random size; "inverse_block": all but
            square blocks.
        block: of "random" the side of what is hidden together, in patches (SimMIM: 2 of 16
            pixels); of "block" the patches of the smallest; of "inverse_block" the side of a
            visible one, in patches. 0 means 1, 16 (or less where fewer are hidden), and 3.
        masks: M, of one crop, for methods that read several (data2vec 2); 1 gives hidden [N].
        source_size: height and width of images as they reach the device; `size` unless told.
        channels: 1 or 3.
        min_area: smallest fraction of the image that a crop covers.
        max_area: largest.
        host_crop: "centre" keeps the centre square of image files, from which the device crops;
            "random" takes the crop itself while they are decoded.
        method: interpolation of crops on the device.
        flip_probability: of mirroring; 0 where left and right mean something.
        mean: of each channel, in [0, 1] units.
        std: of each channel, in [0, 1] units.

    Raises:
        ConfigError: nothing is hidden or nothing visible, or blocks do not divide the image.
    """
    if masks < 1:
        raise ConfigError(f"pretext masks {masks}: expected at least 1.")
    areas, on_host = (min_area, max_area), host_crop == "random"
    images = image_format(source_size, size, channels, mean, std, crops=int(on_host), areas=areas)
    mask = mask_of(kind, patch_grid(size, patch_size), ratio, block)

    def views(key: Key, example: Example) -> Example:
        k_crop, k_flip, k_mask = jax.random.split(key, 3)
        image = to_unit(example["image"])
        image = random_crop(k_crop, image, size=size, areas=areas, method=method, cropped=on_host)
        image = random_flip(k_flip, image, probability=flip_probability)
        hidden = mask(k_mask) if masks == 1 else jax.vmap(mask)(jax.random.split(k_mask, masks))
        return {"image": standardise(image, images.mean, images.std), "hidden": hidden}

    return Pretext(images.example, images.plain, views, images.spec())


def mask_of(kind: Kind, grid: int, ratio: float, block: int) -> Callable[[Key], jax.Array]:
    """Return key -> mask bool [N] of `kind` on a grid of patches.

    Raises:
        ConfigError: nothing is hidden or nothing visible, or blocks do not divide the grid.
    """
    if kind == "random":
        side = block or 1
        if grid % side:
            raise ConfigError(f"pretext block {block}: expected a divisor of the {grid} patches "
                              "along a side.")
        count = hidden_count((grid // side)**2, ratio)
        if side > 1:
            return lambda key: spread_mask(key, grid, side=side, count=count)
        return lambda key: random_mask(key, grid**2, count=count)
    count = hidden_count(grid**2, ratio)
    if kind == "block":
        return lambda key: block_mask(key, grid, count=count, min_block=min(block or 16, count))
    return lambda key: inverse_block_mask(key, grid, count=count, block=block or 3)
