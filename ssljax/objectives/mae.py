"""Masked autoencoder: encode the visible patches, predict the pixels of the hidden ones.

He et al. 2022, https://arxiv.org/abs/2111.06377. Reads image f32 [B, H, W, C] and hidden
bool [B, N], True on the patches to be predicted. Evaluation uses the encoder on whole images.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from ssljax.augment.patch_mask import hidden_count
from ssljax.core.errors import ConfigError
from ssljax.core.sharding import per_example
from ssljax.core.types import Batch, Inputs, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.nn.patches import patchify

TINY = {"patch_size": 2}
Targets = Literal["pixels", "normalised_pixels"]


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
    """Standardise each patch [..., P] by its own mean and unbiased variance (Table 1d)."""
    mean = jnp.mean(patches, axis=-1, keepdims=True)
    variance = jnp.var(patches, axis=-1, keepdims=True, ddof=1)
    return (patches - mean) * jax.lax.rsqrt(variance + 1e-6)


def masked_error(predictions: jax.Array, targets: jax.Array, scored: jax.Array) -> jax.Array:
    """Sum over scored patches of the mean squared error of their pixels, in float32.

    Args:
        predictions: [B, N, P].
        targets: [B, N, P].
        scored: bool [B, N].
    """
    error = (predictions.astype(jnp.float32) - targets.astype(jnp.float32)) ** 2
    return jnp.sum(jnp.where(scored, jnp.mean(error, axis=-1), 0))


def make(model: Model, *, decoder: Model, patch_size: int, ratio: float = 0.75,
         targets: Targets = "normalised_pixels") -> Objective:
    """Return MAE around an encoder and a light decoder.

    Args:
        model: reads image and visible i32 [B, K], returns sequence [B, K or 1 + K, E].
        decoder: reads sequence and visible, returns pixels [B, N, P].
        patch_size: side of a patch in pixels, the networks'.
        ratio: fraction of hidden patches, the pretext's; it fixes K at compile time.
        targets: pixels as they are, or standardised within each patch.
    """
    def split(batch: Batch) -> tuple[Inputs, jax.Array]:
        b, height, width, _ = batch["image"].shape
        patches = (height // patch_size) * (width // patch_size)
        if batch["hidden"].shape != (b, patches):
            raise ConfigError(f"mae with patch_size {patch_size} reads hidden of shape "
                              f"{(b, patches)} but got {batch['hidden'].shape}; set patch_size of "
                              "the objective to the pretext's.")
        count = patches - hidden_count(patches, ratio)
        visible, scored = per_example(lambda row: split_patches(row, count))(batch["hidden"])
        return {"image": batch["image"], "visible": visible}, scored

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        k_encoder, k_decoder = jax.random.split(key)
        inputs, _ = split(batch)
        encoder, stats = model.init(k_encoder, inputs)
        shape = jax.eval_shape(model.apply, encoder, inputs, stats=stats)["sequence"]
        sequence = jnp.zeros(shape.shape, shape.dtype)
        head, head_stats = decoder.init(
            k_decoder, {"sequence": sequence, "visible": inputs["visible"]})
        params = {"encoder": encoder, "decoder": head}
        return params, {"stats": {"encoder": stats, "decoder": head_stats}}

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        k_encoder, k_decoder = jax.random.split(key)
        inputs, scored = split(batch)
        encoded = model.apply(params["encoder"], inputs, stats=extra["stats"]["encoder"],
                              key=k_encoder, train=True)
        decoded = decoder.apply(
            params["decoder"], {"sequence": encoded["sequence"], "visible": inputs["visible"]},
            stats=extra["stats"]["decoder"], key=k_decoder, train=True)
        patches = patchify(batch["image"].astype(jnp.float32), patch_size)
        if targets == "normalised_pixels":
            patches = normalise_patches(patches)
        total = masked_error(decoded["pixels"], patches, scored)
        weight = jnp.sum(scored, dtype=jnp.float32)
        stats = {"encoder": encoded["stats"], "decoder": decoded["stats"]}
        return total, (weight, {"stats": stats}, {"masked_error": (total, weight)})

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        del step
        return params, extra

    def encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
        return params["encoder"], extra["stats"]["encoder"]

    return Objective(init, loss, update, encoder, coupled=False)
