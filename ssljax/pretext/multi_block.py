"""One random crop, blocks of its patches to predict, and a context to predict them from (I-JEPA).

Assran et al. 2023, https://arxiv.org/abs/2301.08243: no augmentation but the crop. Reads records
{"image": uint8 [H, W, C], "id"}; the device part replaces image by float32 [size, size, C] and
adds targets i32 [M, T], the patches of M target blocks, and context i32 [K], which shares none of
them. augment.multi_block says how static shapes are reached.
"""

from collections.abc import Sequence

import jax

from ssljax.augment.crop import Method, random_crop
from ssljax.augment.flip import random_flip
from ssljax.augment.multi_block import block_shapes, context_patches, target_blocks
from ssljax.augment.pixels import standardise, to_unit
from ssljax.core.errors import ConfigError
from ssljax.core.types import Example, Key, Pretext
from ssljax.nn.patches import patch_grid
from ssljax.pretext.image import HostCrop, image_format

# A grid of 4 by 4: two targets of 2 by 2, and four patches to predict them from.
TINY = {"size": 8, "patch_size": 2, "channels": 1, "blocks": 2, "target_scale": (0.2, 0.3),
        "context_ratio": 0.25}


def make(*, size: int, patch_size: int, blocks: int = 4,
         target_scale: Sequence[float] = (0.15, 0.2), target_aspect: Sequence[float] = (0.75, 1.5),
         context_scale: Sequence[float] = (0.85, 1.0), context_ratio: float = 0.3,
         source_size: int = 0, channels: int = 3, min_area: float = 0.3, max_area: float = 1.0,
         host_crop: HostCrop = "centre", method: Method = "cubic", flip_probability: float = 0.0,
         mean: Sequence[float] = (0.5,), std: Sequence[float] = (0.5,)) -> Pretext:
    """Return the pretext; defaults of blocks, scales and crop are the paper's.

    Args:
        size: height and width of a crop, and of images in evaluation, in pixels.
        patch_size: side of a patch in pixels; divides `size`.
        blocks: M, target blocks; each is predicted by itself.
        target_scale: least and most of a target block's area, as fractions of the image.
        target_aspect: least and most of its height over its width.
        context_scale: least and most of the area of the square block that holds the context.
        context_ratio: K as a fraction of all patches. The median context of the paper keeps 0.45
            of them and the shortest of a batch of 128, to which the released code cuts all, 0.3.
        source_size: height and width of images as they reach the device; `size` unless told.
        channels: 1 or 3.
        min_area: smallest fraction of the image that a crop covers.
        max_area: largest.
        host_crop: "centre" keeps the centre square of image files, from which the device crops;
            "random" takes the crop itself while they are decoded.
        method: interpolation of crops on the device.
        flip_probability: of mirroring, which the paper leaves out.
        mean: of each channel, in [0, 1] units.
        std: of each channel, in [0, 1] units.

    Raises:
        ConfigError: no block fits, or nothing could be left to predict from.
    """
    areas, on_host = (min_area, max_area), host_crop == "random"
    images = image_format(source_size, size, channels, mean, std, crops=int(on_host), areas=areas)
    grid = patch_grid(size, patch_size)
    shapes = block_shapes(grid, scale=target_scale, aspect=target_aspect)
    area, count = shapes[0][0] * shapes[0][1], round(context_ratio * grid**2)
    if blocks < 1 or blocks * area >= grid**2 or not 0 < count < grid**2:
        raise ConfigError(f"{blocks} blocks of {area} and a context of {count} of {grid**2} "
                          "patches; expected at least one of each, and blocks that cannot cover "
                          "the image. Change blocks, target_scale or context_ratio.")

    def views(key: Key, example: Example) -> Example:
        k_crop, k_flip, k_targets, k_context = jax.random.split(key, 4)
        image = to_unit(example["image"])
        image = random_crop(k_crop, image, size=size, areas=areas, method=method, cropped=on_host)
        image = random_flip(k_flip, image, probability=flip_probability)
        targets = target_blocks(k_targets, grid, shapes, blocks=blocks)
        context = context_patches(k_context, grid, targets, scale=context_scale, count=count)
        return {"image": standardise(image, images.mean, images.std), "targets": targets,
                "context": context}

    return Pretext(images.example, images.plain, views, images.spec())
