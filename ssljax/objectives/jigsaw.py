"""Jigsaw puzzles: tell which permutation shuffled the tiles of an image.

Noroozi and Favaro 2016, https://arxiv.org/abs/1603.09246. Reads tiles f32 [B, 9, h, w, C] in raster
order, order i32 [B, M, 9], M ways to shuffle them, and shuffle i32 [B, M], their classes.
The network sees one tile at a time, so shuffling its features is shuffling its inputs. Evaluation
uses that network on whole images.
"""

import jax

from ssljax.core.sharding import BATCH, per_example, reshape
from ssljax.core.types import Batch, Model, Objective
from ssljax.families.classify import classification

TINY = {"permutations": 4, "hidden_dim": 32}


def shuffled(features: jax.Array, order: jax.Array) -> jax.Array:
    """Return [B, M, 9D]: the features [B, 9, D] of all tiles in each order i32 [B, M, 9]."""
    rows = per_example(lambda tiles, order: tiles[order])(features, order)       # [B, M, 9, D]
    b, m, tiles, width = rows.shape
    return reshape(rows, (b, m, tiles * width), (BATCH, None, None))


def make(model: Model, *, permutations: int = 100, hidden_dim: int = 1024) -> Objective:
    """Return jigsaw puzzles.

    Args:
        model: reads image, of the tiles' size and of whole images, returns pooled [B, D].
        permutations: how many are told apart, the pretext's.
        hidden_dim: of the layer that compares tiles; the paper's has 4,096 units.
    """
    def arrange(features: jax.Array, batch: Batch) -> jax.Array:
        return shuffled(features, batch["order"])

    def targets(batch: Batch) -> jax.Array:
        return batch["shuffle"]

    return classification(model, images="tiles", arrange=arrange, targets=targets,
                          sizes=(hidden_dim, permutations))
