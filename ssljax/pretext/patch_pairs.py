"""The centre of a 3 by 3 grid and some of its neighbours, for relative patch location.

Doersch et al. 2015, https://arxiv.org/abs/1505.05192 (section 3), with the sizes of Kolesnikov et
al. 2019, https://arxiv.org/abs/1901.09005: a crop of 255 pixels, cells of 85, tiles of 64. Reads
records {"image", "id"}; the device part adds patches float32 [1 + M, tile, tile, C], the centre
first, and position int32 [M], which of the eight neighbours (in raster order) each other one is.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.augment.crop import Method
from ssljax.augment.pixels import to_unit
from ssljax.augment.tiles import CELLS, CENTRE, check_tiles, cut_tiles, random_grid
from ssljax.core.errors import ConfigError
from ssljax.core.types import Example, Key, Pretext
from ssljax.pretext.image import image_format

TINY = {"size": 8, "grid_size": 12, "tile_size": 2, "neighbours": 2, "channels": 1}
NEIGHBOURS = CELLS - 1


def make(*, size: int, tile_size: int, grid_size: int = 0, neighbours: int = 1,
         source_size: int = 0, channels: int = 3, area: float = 0.76,
         gray_probability: float = 0.66, method: Method = "bilinear",
         mean: Sequence[float] = (0.5,), std: Sequence[float] = (0.25,)) -> Pretext:
    """Return the pretext.

    Args:
        size: height and width of images in evaluation, in pixels.
        tile_size: height and width of a patch, at most a third of grid_size; what is left of the
            third is gap and jitter.
        grid_size: height and width of the grid; `size` unless told.
        neighbours: M, different ones for every image, 1 to 8; the paper takes one.
        source_size: height and width of stored images; `size` unless told.
        channels: 1 or 3.
        area: fraction of the image that the grid covers; 255**2 / 292**2 unless told.
        gray_probability: of losing all colour.
        method: interpolation of the grid.
        mean: of each channel in evaluation, in [0, 1] units.
        std: of each channel in evaluation; about that of natural images, because patches have a
            deviation of one in training.

    Raises:
        ConfigError: tiles do not fit, or there are not so many neighbours.
    """
    grid_size = grid_size or size
    check_tiles(grid_size, tile_size)
    if not 1 <= neighbours <= NEIGHBOURS:
        raise ConfigError(f"patch_pairs neighbours {neighbours}: expected 1 to {NEIGHBOURS}.")
    images = image_format(source_size, size, channels, mean, std)

    def views(key: Key, example: Example) -> Example:
        k_grid, k_choice, k_cut = jax.random.split(key, 3)
        image = random_grid(k_grid, to_unit(example["image"]), size=grid_size, area=area,
                            gray_probability=gray_probability, method=method)
        position = jax.random.permutation(k_choice, NEIGHBOURS)[:neighbours]
        cells = jnp.concatenate([jnp.array([CENTRE]), position + (position >= CENTRE)])
        return {"patches": cut_tiles(k_cut, image, cells, tile_size=tile_size),
                "position": position}

    return Pretext(images.example, images.plain, views, images.spec())
