"""Images as sequences of patches, and fixed positions for them.

Shapes: B batch, N patches in row-major order, P = patch_size**2 * C values of a patch, D width.
"""

import jax
import numpy as np

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, reshape

REPLICATED = (None,) * 5


def patch_grid(image_size: int, patch_size: int) -> int:
    """Return the patches along one side of a square image.

    Raises:
        ConfigError: patches do not tile the image.
    """
    if image_size % patch_size:
        raise ConfigError(f"image_size {image_size} is not a multiple of patch_size {patch_size}; "
                          "change one of the two.")
    return image_size // patch_size


def patchify(image: jax.Array, patch_size: int) -> jax.Array:
    """Cut images [B, H, W, C] into patches [B, N, P]: pixels row-major, channels last."""
    b, h, w, c = image.shape
    p = patch_size
    x = reshape(image, (b, h // p, p, w // p, p, c), (BATCH, *REPLICATED))
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return reshape(x, (b, (h // p) * (w // p), p * p * c), (BATCH, None, None))


def unpatchify(patches: jax.Array, shape: tuple[int, ...], patch_size: int) -> jax.Array:
    """Put patches [B, N, P] together to images of shape [B, H, W, C]; undoes `patchify`."""
    b, h, w, c = shape
    p = patch_size
    x = reshape(patches, (b, h // p, w // p, p, p, c), (BATCH, *REPLICATED))
    return reshape(x.transpose(0, 1, 3, 2, 4, 5), (b, h, w, c), (BATCH, None, None, None))


def place_of(patches: int, native: int) -> np.ndarray:
    """Return where `patches` patches that span `native` of them lie, in native patches, [patches].

    Whole numbers where both are equal; else the centres are spread as an image that was resized.
    """
    return (np.arange(patches) + 0.5) * (native / patches) - 0.5


def sincos_table(grid: int | tuple[int, int], width: int, *, native: int = 0) -> np.ndarray:
    """Return fixed positions of a grid, float32 [N, D].

    A quarter of the width each for sine and cosine of the row and of the column, at wavelengths
    from 2 pi to 10,000 * 2 pi patches, as in MoCo v3, https://arxiv.org/abs/2104.02057.

    Args:
        grid: patches along each side of a square, or (rows, columns).
        width: D.
        native: patches along a side that the grid spans: sines at the places between them, which
            is what interpolating a table approximates. 0 counts the grid's own.

    Raises:
        ConfigError: the width does not divide by four.
    """
    if width % 4:
        raise ConfigError(f"width {width} is not a multiple of 4, which 2-D sin-cos positions "
                          "need; change the width.")
    frequency = 10_000.0 ** (-np.arange(width // 4) / (width // 4))

    def waves(patches: int) -> np.ndarray:
        angle = place_of(patches, native or patches)[:, None] * frequency    # [patches, D/4]
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)        # [patches, D/2]

    height, width = (grid, grid) if isinstance(grid, int) else grid
    rows, columns = np.repeat(waves(height), width, axis=0), np.tile(waves(width), (height, 1))
    return np.concatenate([rows, columns], axis=1).astype(np.float32)


def rope_places(grid: tuple[int, int]) -> np.ndarray:
    """Return row and column of every patch as rotary positions, float32 [N, 2].

    An image is 4 pi wide and high whatever its patches, from -2 pi to 2 pi, as in DINOv3 (Simeoni
    et al. 2025, https://arxiv.org/abs/2508.10104): a crop looks like an image that was resized.
    """
    rows, columns = (2 * np.pi * ((2 * np.arange(n) + 1) / n - 1) for n in grid)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)
