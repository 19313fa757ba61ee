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


def sincos_table(grid: int, width: int) -> np.ndarray:
    """Return fixed positions of a square grid, float32 [N, D].

    A quarter of the width each for sine and cosine of the row and of the column, at wavelengths
    from 2 pi to 10,000 * 2 pi patches, as in MoCo v3, https://arxiv.org/abs/2104.02057.

    Raises:
        ConfigError: the width does not divide by four.
    """
    if width % 4:
        raise ConfigError(f"width {width} is not a multiple of 4, which 2-D sin-cos positions "
                          "need; change the width.")
    frequency = 10_000.0 ** (-np.arange(width // 4) / (width // 4))
    angle = np.arange(grid)[:, None] * frequency                             # [grid, D/4]
    waves = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)           # [grid, D/2]
    rows, columns = np.repeat(waves, grid, axis=0), np.tile(waves, (grid, 1))
    return np.concatenate([rows, columns], axis=1).astype(np.float32)
