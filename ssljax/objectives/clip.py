"""CLIP: an image and its caption agree, and differ from every other one of the batch.

Radford et al. 2021, https://arxiv.org/abs/2103.00020 (figure 3). Reads image f32 [B, H, W, C] and
tokens i32 [B, L]. The scale of the similarities is learned, and held at 100 or below as in the
authors' code. Evaluation uses the image network without its projection.
"""

import math

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families import towers
from ssljax.families.health import spread
from ssljax.families.joint import first_hits, similarities, student_encoder
from ssljax.nn.loss import cross_entropy

TINY = {"out_dim": 16}


def symmetric_nats(images: jax.Array, texts: jax.Array, scale: jax.Array,
                   ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the nats summed over B pairs, and for how many each side finds the other first.

    Half of them tell the text of an image among B, half the image of a text.

    Args:
        images: unit rows f32 [B, E].
        texts: unit rows f32 [B, E], of the same pairs.
        scale: exp of the learned logarithm, what cosines are multiplied by.
    """
    targets = jnp.arange(images.shape[0])
    # Products twice: the transpose of a matrix with sharded rows would move all of it.
    of_images, of_texts = (scale * similarities(a, b) for a, b in ((images, texts),
                                                                  (texts, images)))
    nats = [jnp.sum(cross_entropy(logits, targets)) for logits in (of_images, of_texts)]
    return sum(nats) / 2, first_hits(of_images, targets), first_hits(of_texts, targets)


def make(model: Model, *, text_model: Model, out_dim: int = 512, temperature: float = 0.07,
         max_scale: float = 100.0) -> Objective:
    """Return CLIP around an image and a text network that pool.

    Args:
        model: reads image, returns pooled.
        text_model: reads tokens, returns pooled.
        out_dim: E, where both meet.
        temperature: at the first step; the scale starts at its inverse.
        max_scale: what the scale is clipped at, against similarities that explode.
    """
    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        params, stats = towers.init(model, text_model, out_dim, key, batch)
        return {**params, "log_scale": jnp.float32(-math.log(temperature))}, {"stats": stats}

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        pairs = towers.both(model, text_model, params, extra["stats"], batch, key)
        scale = jnp.exp(params["log_scale"].astype(jnp.float32))
        nats, found_texts, found_images = symmetric_nats(pairs.images, pairs.texts, scale)
        weight = jnp.float32(pairs.images.shape[0])
        metrics = {"embedding_std": spread(pairs.pooled), "text_std": spread(pairs.texts),
                   "text_first": (found_texts, weight), "image_first": (found_images, weight),
                   "scale": (scale * weight, weight)}
        return nats, (weight, {"stats": pairs.stats}, metrics)

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        del step
        held = jnp.minimum(params["log_scale"], math.log(max_scale))
        return {**params, "log_scale": held}, extra

    return Objective(init, loss, update, student_encoder, coupled=True)
