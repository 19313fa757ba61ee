"""SigLIP: for every image and every text of the batch, whether they belong together.

Zhai et al. 2023, https://arxiv.org/abs/2303.15343 (equation 1). Reads image f32 [B, H, W, C] and
tokens i32 [B, L]. The loss never holds all B x B pairs (families/pairwise.py). Evaluation uses the
image network without its projection.
"""

import math

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families import towers
from ssljax.families.health import spread
from ssljax.families.joint import student_encoder, unmoved
from ssljax.families.pairwise import sigmoid_nats

TINY = {"out_dim": 16}


def make(model: Model, *, text_model: Model, out_dim: int = 768, scale: float = 10.0,
         bias: float = -10.0) -> Objective:
    """Return SigLIP around an image and a text network that pool.

    Args:
        model: reads image, returns pooled.
        text_model: reads tokens, returns pooled.
        out_dim: E, where both meet.
        scale: the inverse temperature at the first step; its logarithm is learned.
        bias: at the first step, learned; so low that nearly all pairs, which do not belong
            together, begin as nearly right. The authors' fine-tuning of small data takes -2.71.
    """
    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        params, stats = towers.init(model, text_model, out_dim, key, batch)
        learned = {"log_scale": jnp.float32(math.log(scale)), "pair_bias": jnp.float32(bias)}
        return {**params, **learned}, {"stats": stats}

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        pairs = towers.both(model, text_model, params, extra["stats"], batch, key)
        factor = jnp.exp(params["log_scale"].astype(jnp.float32))
        shift = params["pair_bias"].astype(jnp.float32)
        nats = sigmoid_nats(pairs.images, pairs.texts, factor, shift)
        weight = jnp.float32(pairs.images.shape[0])
        cosine = jnp.sum(pairs.images * pairs.texts)
        metrics = {"embedding_std": spread(pairs.pooled), "text_std": spread(pairs.texts),
                   "pair_cosine": (cosine, weight), "scale": (factor * weight, weight),
                   "bias": (shift * weight, weight)}
        return nats, (weight, {"stats": pairs.stats}, metrics)

    return Objective(init, loss, unmoved, student_encoder, coupled=True)
