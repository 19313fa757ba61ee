"""Blocks of patches to predict and a context to predict them from, with static shapes (I-JEPA).

Assran et al. 2023, https://arxiv.org/abs/2301.08243 (section 3 and appendix A.1): target blocks of
a random shape at random places, and one large block without their patches. The released code draws
one block size a batch and cuts every context down to the shortest of the batch, taking its first
patches in raster order, so contexts crowd at the top of the image. Here an example depends on its
own key alone: a target block always has T patches, in a shape drawn from all that have so many,
and a context is K random patches.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.core.errors import ConfigError
from ssljax.core.types import Key

Shapes = tuple[tuple[int, int], ...]                # (height, width) in patches


def block_shapes(grid: int, *, scale: Sequence[float], aspect: Sequence[float]) -> Shapes:
    """Return the shapes of a target block, all of one area.

    Of the areas in range it is the one with most shapes, and of those the nearest to the middle:
    12 patches as 3 x 4 or 4 x 3 on a grid of 8, 30 as 5 x 6 or 6 x 5 on one of 14.

    Args:
        grid: patches along one side of the image.
        scale: least and most of a block's area, as fractions of the image.
        aspect: least and most of its height over its width.

    Raises:
        ConfigError: no whole number of patches is in range.
    """
    (low, high), (narrow, wide) = scale, aspect
    found: dict[int, list[tuple[int, int]]] = {}
    for height, width in np.ndindex(grid, grid):
        shape = (height + 1, width + 1)
        area = shape[0] * shape[1]
        if low <= area / grid**2 <= high and narrow <= shape[0] / shape[1] <= wide:
            found.setdefault(area, []).append(shape)
    if not found:
        raise ConfigError(f"target_scale {tuple(scale)} and target_aspect {tuple(aspect)} fit no "
                          f"block of whole patches on a grid of {grid} x {grid}; widen the range.")
    middle = (low + high) / 2 * grid**2
    area = min(found, key=lambda a: (-len(found[a]), abs(a - middle), a))
    return tuple(found[area])


def target_block(key: Key, grid: int, shapes: Shapes) -> jax.Array:
    """Draw one block: its shape among `shapes`, its place among all that fit; i32 [T]."""
    k_shape, k_top, k_left = jax.random.split(key, 3)
    height, width = jax.random.choice(k_shape, jnp.array(shapes, jnp.int32))
    top = jax.random.randint(k_top, (), 0, grid - height + 1)
    left = jax.random.randint(k_left, (), 0, grid - width + 1)
    place = jnp.arange(shapes[0][0] * shapes[0][1], dtype=jnp.int32)
    return (top + place // width) * grid + left + place % width


def target_blocks(key: Key, grid: int, shapes: Shapes, *, blocks: int) -> jax.Array:
    """Draw the patches of `blocks` target blocks, which may overlap; i32 [M, T]."""
    return jax.vmap(lambda k: target_block(k, grid, shapes))(jax.random.split(key, blocks))


def context_patches(key: Key, grid: int, targets: jax.Array, *, scale: Sequence[float], count: int,
                    ) -> jax.Array:
    """Draw the patches that the context encoder reads, none of them a target; i32 [K].

    They are a random choice from a square block. Where that has fewer than K left beside the
    targets, patches around it follow, and where the image has fewer, some are repeated: attention
    then counts them twice, and nothing leaks.

    Args:
        key: of this draw.
        grid: patches along one side of the image.
        targets: i32 [M, T].
        scale: least and most of the block's area, as fractions of the image.
        count: K.
    """
    k_scale, k_top, k_left, k_order = jax.random.split(key, 4)
    area = jax.random.uniform(k_scale, (), minval=scale[0], maxval=scale[1])
    side = jnp.clip(jnp.round(jnp.sqrt(area) * grid).astype(jnp.int32), 1, grid)
    top, left = (jax.random.randint(k, (), 0, grid - side + 1) for k in (k_top, k_left))
    row, column = jnp.divmod(jnp.arange(grid**2), grid)
    inside = (row >= top) & (row < top + side) & (column >= left) & (column < left + side)
    target = jnp.zeros(grid**2, bool).at[targets.reshape(-1)].set(True)
    rank = jax.random.uniform(k_order, (grid**2,)) + jnp.where(inside, 0, 1) + 2.0 * target
    order = jnp.argsort(rank).astype(jnp.int32)
    return order[jnp.arange(count) % jnp.sum(~target)]
