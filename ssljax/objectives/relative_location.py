"""Relative patch location: tell where one patch of an image lies, seen from another.

Doersch et al. 2015, https://arxiv.org/abs/1505.05192. Reads patches f32 [B, 1 + M, h, w, C], the
centre first, and position i32 [B, M], which of the eight neighbours each of the others is.
Evaluation uses the network of one patch on whole images, without what compares two.
"""

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Model, Objective
from ssljax.families.classify import classification

TINY = {"hidden_dim": 32}
NEIGHBOURS = 8


def pairs(features: jax.Array) -> jax.Array:
    """Return [B, M, 2D]: the centre's features beside each neighbour's, of [B, 1 + M, D]."""
    others = features[:, 1:]
    centre = jnp.broadcast_to(features[:, :1], others.shape)
    return jnp.concatenate([centre, others], axis=-1)


def make(model: Model, *, hidden_dim: int = 1024) -> Objective:
    """Return relative patch location.

    Args:
        model: reads image, of the patches' size and of whole images, returns pooled [B, D].
        hidden_dim: of the layer that compares two patches; without one the classes' logits would
            be a sum of what each patch says alone.
    """
    def arrange(features: jax.Array, batch: Batch) -> jax.Array:
        del batch
        return pairs(features)

    def targets(batch: Batch) -> jax.Array:
        return batch["position"]

    return classification(model, images="patches", arrange=arrange, targets=targets,
                          sizes=(hidden_dim, NEIGHBOURS))
