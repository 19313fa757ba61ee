"""The nine tiles of an image and some ways to shuffle them, for jigsaw puzzles.

Noroozi and Favaro 2016, https://arxiv.org/abs/1603.09246, with the sizes of Kolesnikov et al. 2019,
https://arxiv.org/abs/1901.09005: a crop of 255 pixels, cells of 85, tiles of 64. Reads records
{"image", "id"}; the device part adds tiles float32 [9, tile, tile, C] in raster order, shuffle
int32 [M], which of a fixed set of permutations are asked for, and order int32 [M, 9], what they
are: place k of shuffle m shows tile order[m, k].
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.augment.crop import Method
from ssljax.augment.permutations import distant_permutations
from ssljax.augment.pixels import to_unit
from ssljax.augment.tiles import CELLS, check_tiles, cut_tiles, random_grid
from ssljax.core.errors import ConfigError
from ssljax.core.types import Example, Key, Pretext
from ssljax.pretext.image import image_format

TINY = {"size": 8, "grid_size": 12, "tile_size": 2, "permutations": 4, "shuffles": 2,
        "channels": 1}


def make(*, size: int, tile_size: int, permutations: int = 100, shuffles: int = 1,
         grid_size: int = 0, source_size: int = 0, channels: int = 3, area: float = 0.76,
         gray_probability: float = 0.66, method: Method = "bilinear",
         mean: Sequence[float] = (0.5,), std: Sequence[float] = (0.25,)) -> Pretext:
    """Return the pretext.

    Args:
        size: height and width of images in evaluation, in pixels.
        tile_size: height and width of a tile, at most a third of grid_size; what is left of the
            third is gap and jitter.
        permutations: how many are told apart, the objective's; the paper has 100 to 1,000.
        shuffles: M, different ones for every image. More cost next to nothing: the network sees
            every tile once.
        grid_size: height and width of the grid; `size` unless told.
        source_size: height and width of stored images; `size` unless told.
        channels: 1 or 3.
        area: fraction of the image that the grid covers; 255**2 / 292**2 unless told.
        gray_probability: of losing all colour.
        method: interpolation of the grid.
        mean: of each channel in evaluation, in [0, 1] units.
        std: of each channel in evaluation; about that of natural images, because tiles have a
            deviation of one in training.

    Raises:
        ConfigError: tiles do not fit, or there are not so many permutations.
    """
    grid_size = grid_size or size
    check_tiles(grid_size, tile_size)
    if not 1 <= shuffles <= permutations:
        raise ConfigError(f"jigsaw shuffles {shuffles}: expected 1 to the {permutations} "
                          "permutations.")
    images = image_format(source_size, size, channels, mean, std)
    table = distant_permutations(CELLS, permutations)

    def views(key: Key, example: Example) -> Example:
        k_grid, k_choice, k_cut = jax.random.split(key, 3)
        image = random_grid(k_grid, to_unit(example["image"]), size=grid_size, area=area,
                            gray_probability=gray_probability, method=method)
        shuffle = jax.random.permutation(k_choice, permutations)[:shuffles]
        return {"tiles": cut_tiles(k_cut, image, jnp.arange(CELLS), tile_size=tile_size),
                "shuffle": shuffle, "order": jnp.asarray(table)[shuffle]}

    return Pretext(images.example, images.plain, views, images.spec())
