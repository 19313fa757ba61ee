"""Rotation prediction: tell which way up an image is.

Gidaris et al. 2018, https://arxiv.org/abs/1803.07728. Reads rotated f32 [B, 4, H, W, C], every
image turned by 0, 90, 180 and 270 degrees; the class of a copy is its place. Evaluation uses the
network without the classifier.
"""

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Model, Objective
from ssljax.families.classify import classification

TINY: dict[str, object] = {}
TURNS = 4


def make(model: Model) -> Objective:
    """Return rotation prediction with a linear classifier on what the network pools.

    Args:
        model: reads image, returns pooled [B, D].
    """
    def arrange(features: jax.Array, batch: Batch) -> jax.Array:
        del batch
        return features

    def targets(batch: Batch) -> jax.Array:
        return jnp.broadcast_to(jnp.arange(TURNS), batch["rotated"].shape[:2])

    return classification(model, images="rotated", arrange=arrange, targets=targets,
                          sizes=(TURNS,))
