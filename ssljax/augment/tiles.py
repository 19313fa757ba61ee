"""Tiles of a 3 by 3 grid, cut so that their content is all that tells where they belong.

Doersch et al. 2015, https://arxiv.org/abs/1505.05192 (section 3.1), and Noroozi and Favaro 2016,
https://arxiv.org/abs/1603.09246 (section 4): a gap and a random offset within the cell hide edges
that run on from tile to tile, standardised tiles hide shading, and missing colour hides the
chromatic aberration of lenses.
"""

import jax
import jax.numpy as jnp

from ssljax.augment.crop import Method, crop_resize, random_box
from ssljax.augment.grayscale import random_grayscale
from ssljax.core.errors import ConfigError
from ssljax.core.types import Key

GRID = 3
CELLS = GRID * GRID
CENTRE = CELLS // 2


def check_tiles(grid_size: int, tile_size: int) -> None:
    """Raise ConfigError if tiles do not fit into the cells of the grid."""
    if not 0 < tile_size <= grid_size // GRID:
        raise ConfigError(f"tile_size {tile_size} in a grid of {grid_size} pixels, whose cells are "
                          f"{grid_size // GRID}: use a smaller tile or a larger grid_size. The "
                          "difference to the cell is gap and jitter.")


def random_grid(key: Key, image: jax.Array, *, size: int, area: float, gray_probability: float,
                method: Method) -> jax.Array:
    """Return the square of the image that is cut, [size, size, C].

    Args:
        key: of this draw.
        image: float32 [H, W, C] in [0, 1].
        size: height and width of the result in pixels.
        area: fraction of the image it covers, somewhere.
        gray_probability: of losing all colour.
        method: interpolation.
    """
    k_box, k_gray = jax.random.split(key)
    box = random_box(k_box, *image.shape[:2], min_area=area, max_area=area, min_aspect=1.0,
                     max_aspect=1.0)
    image = crop_resize(image, box, size=size, method=method).clip(0, 1)      # cubic overshoots
    return random_grayscale(k_gray, image, probability=gray_probability)


def cut_tiles(key: Key, image: jax.Array, cells: jax.Array, *, tile_size: int) -> jax.Array:
    """Return the tiles [n, tile_size, tile_size, C] of `cells` i32 [n], standardised.

    Each lies somewhere within its cell, drawn for itself.
    """
    side = image.shape[0] // GRID

    def cut(key: Key, cell: jax.Array) -> jax.Array:
        offset = jax.random.randint(key, (2,), 0, side - tile_size + 1)
        row, column = cell // GRID * side + offset[0], cell % GRID * side + offset[1]
        shape = (tile_size, tile_size, image.shape[-1])
        return standardise_tile(jax.lax.dynamic_slice(image, (row, column, 0), shape))

    return jax.vmap(cut)(jax.random.split(key, cells.shape[0]), cells)


def standardise_tile(tile: jax.Array) -> jax.Array:
    """Give a tile [h, w, C] mean zero and deviation one; a flat one stays nearly zero.

    The deviation is at least that of one grey level, so that noise is not blown up to a picture.
    """
    deviation = jnp.maximum(jnp.std(tile), 1 / 255)
    return (tile - jnp.mean(tile)) / deviation
