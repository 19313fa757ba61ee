"""Two towers: images and texts as unit vectors of one space, for CLIP and SigLIP.

Params are {"encoder": the image network, "text": the text network, "projection": two matrices},
whatever else the loss adds. Shapes: B pairs, D pooled, E the shared space.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax

from ssljax.core.sharding import BATCH, Axes, einsum
from ssljax.core.types import Batch, Key, Model, Params, PyTree
from ssljax.families.joint import encode, pooled_width, unit

PARTITION: dict[str, tuple[Axes, ...]] = {
    "w_image": ("fsdp", None),        # [D, E]
    "w_text": ("fsdp", None),         # [D, E]
}


class Pairs(NamedTuple):
    """What both towers made of a batch.

    images: f32 [B, E], unit rows
    texts:  f32 [B, E], unit rows; row i belongs to image i
    pooled: [B, D] of the image network
    stats:  batch statistics, moved
    """

    images: jax.Array
    texts: jax.Array
    pooled: jax.Array
    stats: PyTree


def init(model: Model, text_model: Model, out_dim: int, key: Key, batch: Batch,
         ) -> tuple[Params, PyTree]:
    """Return the parameters of both towers, and their batch statistics."""
    k_image, k_text, k_left, k_right = jax.random.split(key, 4)
    encoder, stats = model.init(k_image, {"image": batch["image"]})
    text, text_stats = text_model.init(k_text, {"tokens": batch["tokens"]})
    apply = lambda params, tokens: text_model.apply(  # noqa: E731
        params, {"tokens": tokens}, stats=text_stats)["pooled"]
    text_width = jax.eval_shape(apply, text, batch["tokens"]).shape[-1]
    width = pooled_width(model, encoder, stats, batch["image"])
    # CLIP's projections start at a standard deviation of D ** -0.5.
    start = lambda key, d: jax.random.normal(key, (d, out_dim)) * d**-0.5  # noqa: E731
    projection = {"w_image": start(k_left, width), "w_text": start(k_right, text_width)}
    return ({"encoder": encoder, "text": text, "projection": projection},
            {"encoder": stats, "text": text_stats})


def project(pooled: jax.Array, weights: jax.Array) -> jax.Array:
    """Return unit rows f32 [B, E] of pooled [B, D]."""
    return unit(einsum("BD,DE->BE", pooled, weights.astype(pooled.dtype), out=(BATCH, None)))


def embed_images(model: Model, params: Params, stats: PyTree, image: jax.Array) -> jax.Array:
    """Return unit rows f32 [B, E] of image [B, H, W, C], in evaluation mode."""
    outputs = model.apply(params["encoder"], {"image": image}, stats=stats["encoder"])
    return project(outputs["pooled"], params["projection"]["w_image"])


def embed_texts(text_model: Model, params: Params, stats: PyTree, tokens: jax.Array) -> jax.Array:
    """Return unit rows f32 [B, E] of tokens i32 [B, L], in evaluation mode."""
    outputs = text_model.apply(params["text"], {"tokens": tokens}, stats=stats["text"])
    return project(outputs["pooled"], params["projection"]["w_text"])


def both(model: Model, text_model: Model, params: Params, stats: Mapping[str, PyTree],
         batch: Batch, key: Key) -> Pairs:
    """Return what both towers make of a batch in training."""
    k_image, k_text = jax.random.split(key)
    seen, image_stats = encode(model, params["encoder"], stats["encoder"], batch["image"], k_image)
    read = text_model.apply(params["text"], {"tokens": batch["tokens"]}, stats=stats["text"],
                            key=k_text, train=True)
    weights = params["projection"]
    return Pairs(project(seen["pooled"], weights["w_image"]),
                 project(read["pooled"], weights["w_text"]), seen["pooled"],
                 {"encoder": image_stats, "text": read["stats"]})
