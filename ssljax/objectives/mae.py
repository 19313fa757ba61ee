"""Masked autoencoder: encode the visible patches, predict the pixels of the hidden ones.

He et al. 2022, https://arxiv.org/abs/2111.06377. Reads image f32 [B, H, W, C] and hidden
bool [B, N], True on the patches to be predicted. Evaluation uses the encoder on whole images.
The metric masked_error is of all scored patches in the unit of the targets.
"""

import jax
import jax.numpy as jnp

from ssljax.augment.patch_mask import hidden_count
from ssljax.core.sharding import per_example
from ssljax.core.types import (
    Batch,
    Inputs,
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
from ssljax.families.masked import (
    Targets,
    masked_error,
    patch_count,
    pixel_targets,
    seen_alike,
    split_patches,
)

TINY = {"patch_size": 2}


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
        patches = patch_count(batch, patch_size, "mae")
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

    def forward(params: Params, extra: PyTree, inputs: Inputs, key: Key, *, train: bool,
                ) -> tuple[Outputs, Outputs]:
        k_encoder, k_decoder = jax.random.split(key)
        encoded = model.apply(params["encoder"], inputs, stats=extra["stats"]["encoder"],
                              key=k_encoder, train=train)
        decoded = decoder.apply(
            params["decoder"], {"sequence": encoded["sequence"], "visible": inputs["visible"]},
            stats=extra["stats"]["decoder"], key=k_decoder, train=train)
        return encoded, decoded

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        inputs, scored = split(batch)
        encoded, decoded = forward(params, extra, inputs, key, train=True)
        patches = pixel_targets(batch["image"], patch_size, targets)
        total = masked_error(decoded["pixels"], patches, scored)
        weight = jnp.sum(scored, dtype=jnp.float32)
        stats = {"encoder": encoded["stats"], "decoder": decoded["stats"]}
        metrics = {"masked_error": (total, weight), "embedding_std": spread(encoded["pooled"])}
        return total, (weight, {"stats": stats}, metrics)

    def predict(params: Params, extra: PyTree, batch: Batch, key: Key,
                ) -> tuple[jax.Array, jax.Array, jax.Array]:
        inputs, scored = split(batch)
        _, decoded = forward(params, extra, inputs, key, train=False)
        return decoded["pixels"].astype(jnp.float32), scored, seen_alike(scored)

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        del step
        return params, extra

    def encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
        return params["encoder"], extra["stats"]["encoder"]

    return Objective(init, loss, update, encoder, coupled=False, reconstruct=Reconstruction(
        predict, lambda image: pixel_targets(image, patch_size, targets), targets == "pixels"))
