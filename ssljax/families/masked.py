"""What methods share that hide patches of an image and predict them.

Shapes: B batch, N patches in row-major order, K of them visible, P values of a patch. The mask of
a batch is hidden bool [B, N]; the loss is a sum over the patches that are scored, each with the
mean over its values, and its weight is their number (He et al. 2022, section 3,
https://arxiv.org/abs/2111.06377).
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, Axes, einsum, shard
from ssljax.core.types import (
    Batch,
    Key,
    Metrics,
    Model,
    Objective,
    Outputs,
    Params,
    PyTree,
    Reconstruction,
)
from ssljax.families.health import spread
from ssljax.nn.patches import patchify

PARTITION: dict[str, tuple[Axes, ...]] = {
    "w_patch_head": ("fsdp", None),       # [D, P]; P need not divide over anything
    "b_patch_head": (None,),
}
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


def normalised(features: jax.Array, axis: int = -1) -> jax.Array:
    """Return features with mean 0 and variance 1 over an axis, in float32: a norm without scale."""
    y = features.astype(jnp.float32)
    y -= jnp.mean(y, axis=axis, keepdims=True)
    return y * jax.lax.rsqrt(jnp.mean(y * y, axis=axis, keepdims=True) + 1e-5)


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


def init_patch_head(key: Key, width: int, values: int) -> Params:
    """Return a linear map from tokens of `width` to `values` of a patch.

    It starts near zero, by the 0.02 of transformers' heads: from guesses far larger than targets,
    histograms of gradients among them, the shortest way is features that say nothing.
    """
    start = jax.nn.initializers.truncated_normal(0.02)
    return {"w_patch_head": start(key, (width, values)), "b_patch_head": jnp.zeros((values,))}


def apply_patch_head(head: Params, tokens: jax.Array) -> jax.Array:
    """Return predictions float32 [B, N, P] of tokens [B, N, D]."""
    w = head["w_patch_head"]
    y = einsum("BND,DP->BNP", tokens.astype(w.dtype), w, out=(BATCH, None, None))
    return (y + head["b_patch_head"]).astype(jnp.float32)


def token_prediction(model: Model, *, method: str, patch_size: int, pixels: bool,
                     targets: Callable[[jax.Array], jax.Array],
                     error: Callable[[jax.Array, jax.Array], jax.Array]) -> Objective:
    """Return a method whose encoder reads mask tokens for hidden patches, and a linear head.

    Args:
        model: reads image and hidden, returns patches [B, N, D] and pooled.
        method: what messages call it.
        patch_size: side of a patch in pixels, the network's.
        pixels: whether targets are the image's own values.
        targets: image [B, H, W, C] -> float32 [B, N, P].
        error: (predictions, targets) -> float32 [B, N, P], of every value.
    """
    def encode(params: Params, extra: PyTree, batch: Batch, key: Key | None, *, train: bool,
               ) -> Outputs:
        patch_count(batch, patch_size, method)
        inputs = {"image": batch["image"], "hidden": batch["hidden"]}
        return model.apply(params["encoder"], inputs, stats=extra["stats"], key=key, train=train)

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        k_encoder, k_head = jax.random.split(key)
        patch_count(batch, patch_size, method)
        inputs = {"image": batch["image"], "hidden": batch["hidden"]}
        encoder, stats = model.init(k_encoder, inputs)
        tokens = jax.eval_shape(model.apply, encoder, inputs, stats=stats)["patches"]
        values = jax.eval_shape(targets, batch["image"]).shape[-1]
        head = init_patch_head(k_head, tokens.shape[-1], values)
        return {"encoder": encoder, "head": head}, {"stats": stats}

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        outputs = encode(params, extra, batch, key, train=True)
        predictions = apply_patch_head(params["head"], outputs["patches"])
        wanted, scored = jax.lax.stop_gradient(targets(batch["image"])), batch["hidden"]
        total = masked_sum(error(predictions, wanted), scored)
        weight = jnp.sum(scored, dtype=jnp.float32)
        metrics = {"masked_error": (masked_error(predictions, wanted, scored), weight),
                   "embedding_std": spread(outputs["pooled"])}
        return total, (weight, {"stats": outputs["stats"]}, metrics)

    def predict(params: Params, extra: PyTree, batch: Batch, key: Key,
                ) -> tuple[jax.Array, jax.Array, jax.Array]:
        outputs = encode(params, extra, batch, key, train=False)
        predictions = apply_patch_head(params["head"], outputs["patches"])
        return predictions, batch["hidden"], seen_alike(batch["hidden"])

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        del step
        return params, extra

    def encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
        return params["encoder"], extra["stats"]

    return Objective(init, loss, update, encoder, coupled=False,
                     reconstruct=Reconstruction(predict, targets, pixels))
