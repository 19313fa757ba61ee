"""What methods share that hide patches of an image and predict them.

Shapes: B batch, N patches in row-major order, K of them visible, P values of a patch. The mask of
a batch is hidden bool [B, N]; the loss is a sum over the patches that are scored, each with the
mean over its values, and its weight is their number (He et al. 2022, section 3,
https://arxiv.org/abs/2111.06377).
"""

from typing import Literal

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, shard
from ssljax.core.types import Batch
from ssljax.nn.patches import patchify

Targets = Literal["pixels", "normalised_pixels"]


def patch_count(batch: Batch, patch_size: int, method: str) -> int:
    """Return N, the patches of the batch's images, one value of `hidden` each.

    Raises:
        ConfigError: the mask is of other patches.
    """
    b, height, width, _ = batch["image"].shape
    patches = (height // patch_size) * (width // patch_size)
    if batch["hidden"].shape != (b, patches):
        raise ConfigError(f"{method} with patch_size {patch_size} reads hidden of shape "
                          f"{(b, patches)} but got {batch['hidden'].shape}; set patch_size of "
                          "the objective to the pretext's.")
    return patches


def split_patches(hidden: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Choose the `count` patches of one image that are encoded; hidden is bool [N].

    Returns:
        visible: i32 [count], the first patches in raster order that are not hidden.
        scored: bool [N], hidden and not encoded. The two differ only where fewer than `count`
            patches are visible: what the encoder was shown never counts as predicted.
    """
    visible = jnp.argsort(hidden, stable=True)[:count]
    return visible, hidden.at[visible].set(False)


def normalise_patches(patches: jax.Array) -> jax.Array:
    """Standardise each patch [..., P] by its own mean and unbiased variance (MAE, Table 1d)."""
    mean = jnp.mean(patches, axis=-1, keepdims=True)
    variance = jnp.var(patches, axis=-1, keepdims=True, ddof=1)
    return (patches - mean) * jax.lax.rsqrt(variance + 1e-6)


def pixel_targets(image: jax.Array, patch_size: int, targets: Targets) -> jax.Array:
    """Return what is predicted of images [B, H, W, C], float32 [B, N, P]."""
    patches = patchify(image.astype(jnp.float32), patch_size)
    return normalise_patches(patches) if targets == "normalised_pixels" else patches


def masked_sum(error: jax.Array, scored: jax.Array) -> jax.Array:
    """Sum over scored patches of the mean over their values.

    Args:
        error: float32 [B, N, P], of every value.
        scored: bool [B, N].
    """
    return jnp.sum(jnp.where(scored, jnp.mean(error, axis=-1), 0))


def masked_error(predictions: jax.Array, targets: jax.Array, scored: jax.Array) -> jax.Array:
    """Sum over scored patches of the mean squared error of their values, in float32.

    Args:
        predictions: [B, N, P].
        targets: [B, N, P].
        scored: bool [B, N].
    """
    return masked_sum((predictions.astype(jnp.float32) - targets.astype(jnp.float32)) ** 2, scored)


def seen_alike(scored: jax.Array) -> jax.Array:
    """Return bool [B, N, N]: every prediction reads the patches that are not scored [B, N]."""
    b, n = scored.shape
    return shard(jnp.broadcast_to(~scored[:, None, :], (b, n, n)), BATCH, None, None)
