"""Masks made of blocks, of exactly so many patches: BEiT's, and data2vec 2's of what stays visible.

Bao et al. 2021, https://arxiv.org/abs/2106.08254 (algorithm 1): rectangles of random size and
aspect are hidden until enough patches are. Baevski et al. 2022, https://arxiv.org/abs/2212.07525
(section 3.3): the other way round, square blocks are kept visible until enough patches are.

Written without that loop, so that shapes are static and the count may be drawn per example: a
fixed number of blocks is drawn, patches are ordered by the first block that covers them and within
it by the distance to a random point of it, and the first `count` are taken. The last block is
thereby cut to what is missing around that point, where BEiT draws until one fits; patches that no
block covers come last, at random.
"""

import math

import jax
import jax.numpy as jnp

from ssljax.core.types import Key

BLOCKS = 16                  # of random size: half the count each on average, so seldom too few
MIN_ASPECT = 0.3             # of BEiT; largest is its inverse


def first_patches(key: Key, grid: int, sides: jax.Array, count: jax.Array | int) -> jax.Array:
    """Return bool [N], True on the first `count` patches that blocks at random places cover.

    Args:
        key: of their places.
        grid: patches along one side; N is its square.
        sides: float32 [K, 2], heights and widths of blocks in whole patches.
        count: int [], how many.
    """
    k_corner, k_point, k_rest = jax.random.split(key, 3)
    room = grid - sides + 1
    corner = jnp.floor(jax.random.uniform(k_corner, sides.shape) * room)
    corner = jnp.minimum(corner, room - 1)                       # rounding may reach the end
    axis = jnp.arange(grid, dtype=jnp.float32)
    inside = [(axis >= corner[:, i, None]) & (axis < (corner + sides)[:, i, None]) for i in (0, 1)]
    covered = inside[0][:, :, None] & inside[1][:, None, :]                          # [K, I, J]
    point = corner + jax.random.uniform(k_point, sides.shape) * (sides - 1)
    away = [((axis - point[:, i, None]) / sides[:, i, None]) ** 2 / 2 for i in (0, 1)]
    within = away[0][:, :, None] + away[1][:, None, :]           # below 1 in a block
    number = jnp.arange(len(sides), dtype=jnp.float32)[:, None, None]
    order = jnp.min(jnp.where(covered, number + within, jnp.inf), axis=0).reshape(-1)
    rest = len(sides) + jax.random.uniform(k_rest, order.shape)
    order = jnp.where(jnp.isinf(order), rest, order)
    return jnp.argsort(jnp.argsort(order)) < count


def block_mask(key: Key, grid: int, *, count: jax.Array | int, min_block: int = 4) -> jax.Array:
    """Return bool [N], True on `count` patches in blocks of random size and aspect.

    Args:
        key: of this draw.
        grid: patches along one side.
        count: int [], patches to hide; may differ by example, and be 0.
        min_block: patches of the smallest block: 16 in BEiT, 4 in iBOT.
    """
    k_area, k_aspect, k_place = jax.random.split(key, 3)
    largest = jnp.maximum(jnp.float32(count), min_block)
    area = min_block + jax.random.uniform(k_area, (BLOCKS,)) * (largest - min_block)
    log_aspect = math.log(MIN_ASPECT)
    aspect = jnp.exp(jax.random.uniform(k_aspect, (BLOCKS,), minval=log_aspect,
                                        maxval=-log_aspect))
    sides = jnp.stack([jnp.sqrt(area * aspect), jnp.sqrt(area / aspect)], axis=1)
    return first_patches(k_place, grid, jnp.clip(jnp.round(sides), 1, grid), count)


def inverse_block_mask(key: Key, grid: int, *, count: int, block: int = 3) -> jax.Array:
    """Return bool [N], True on `count` patches, such that the others form square blocks.

    Args:
        key: of this draw.
        grid: patches along one side.
        count: patches to hide.
        block: patches along a side of a visible block.
    """
    visible, side = grid**2 - count, min(block, grid)
    blocks = math.ceil(4 * visible / side**2)        # they overlap: four times what just suffices
    sides = jnp.full((blocks, 2), side, jnp.float32)
    return ~first_patches(key, grid, sides, visible)
