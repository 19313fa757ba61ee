"""Histograms of oriented gradients, Dalal and Triggs 2005, as targets of masked prediction.

https://doi.org/10.1109/CVPR.2005.177. Of every channel of every cell: which way its edges run,
regardless of brightness (a difference of pixels) and contrast (each histogram has length one), the
two invariances that MaskFeat found to matter (section 3.2 of https://arxiv.org/abs/2112.09133).
"""

import jax
import jax.numpy as jnp

from ssljax.core.sharding import per_example

BINS = 9            # of 20 degrees: an edge and its negative fall in one
FLAT = 1e-12        # squared length below which a cell has no edges


def gradients(image: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the derivatives along rows and columns of image [H, W, C], by (-1, 0, 1).

    The edge pixels are repeated, so that an image's border is no edge.
    """
    padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    return padded[2:, 1:-1] - padded[:-2, 1:-1], padded[1:-1, 2:] - padded[1:-1, :-2]


def votes(image: jax.Array) -> jax.Array:
    """Return what each pixel of image [H, W, C] adds to each orientation, [H, W, C, BINS].

    A pixel votes by the length of its gradient, split between the two nearest bin centres: unlike
    with whole votes, rounding cannot move a vote to another bin.
    """
    down, right = gradients(image)
    length = jnp.sqrt(down**2 + right**2)
    angle = jnp.arctan2(down, right) / jnp.pi % 1 * BINS                      # [0, BINS)
    distance = jnp.abs(angle[..., None] - (jnp.arange(BINS) + 0.5))
    distance = jnp.minimum(distance, BINS - distance)             # orientations are a ring
    return length[..., None] * jnp.maximum(1 - distance, 0)


def histograms(image: jax.Array, cell_size: int) -> jax.Array:
    """Return the unit-length histogram of every cell of one image [H, W, C].

    Returns:
        float32 [H / cell_size, W / cell_size, C, BINS]; zeros where a cell has no edges.
    """
    height, width, channels = image.shape
    summed = votes(image.astype(jnp.float32)).reshape(
        height // cell_size, cell_size, width // cell_size, cell_size, channels, BINS).sum((1, 3))
    return summed * jax.lax.rsqrt(jnp.sum(summed**2, axis=-1, keepdims=True) + FLAT)


def patch_histograms(image: jax.Array, *, patch_size: int, cell_size: int) -> jax.Array:
    """Return the histograms of every patch of images [B, H, W, C], one after the other.

    Args:
        image: of any floating dtype.
        patch_size: side of a patch in pixels.
        cell_size: side of a cell in pixels; divides patch_size.

    Returns:
        float32 [B, N, P], P = (patch_size / cell_size)**2 * C * BINS: cells row-major, then
        channels, then orientations.
    """
    side = patch_size // cell_size

    def one(image: jax.Array) -> jax.Array:
        found = histograms(image, cell_size)
        rows, columns = found.shape[0] // side, found.shape[1] // side
        found = found.reshape(rows, side, columns, side, -1).swapaxes(1, 2)
        return found.reshape(rows * columns, -1)

    return per_example(one)(jax.lax.stop_gradient(image))
