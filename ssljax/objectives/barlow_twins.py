"""Barlow Twins: the cross-correlation of two views' embeddings is the identity.

Zbontar et al. 2021, https://arxiv.org/abs/2103.03230. Reads view1, view2 f32 [B, H, W, C]. The
correlation is over the global batch, whatever the mesh. Evaluation uses the encoder without its
head.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.heads import mlp
from ssljax.families.health import spread
from ssljax.families.joint import both_views, branch, products, student_encoder, unmoved

TINY = {"dims": (32, 16)}


def standardised(z: jax.Array) -> jax.Array:
    """Return z [B, E] with mean 0 and variance 1 of every column over the batch, in float32."""
    z = z.astype(jnp.float32)
    z -= jnp.mean(z, axis=0)
    return z * jax.lax.rsqrt(jnp.mean(z * z, axis=0) + 1e-5)


def redundancy(z1: jax.Array, z2: jax.Array, off_diagonal: float) -> tuple[jax.Array, jax.Array]:
    """Equation 1: sum (1 - C_ii)^2 + off_diagonal * sum over i != j of C_ij^2.

    Args:
        z1: embeddings [B, E] of the first views.
        z2: of the second views of the same images.
        off_diagonal: lambda.

    Returns:
        The loss, and the mean of C_ii: 1 where the views of an image agree.
    """
    correlation = products(standardised(z1), standardised(z2)) / z1.shape[0]
    diagonal = jnp.eye(correlation.shape[0], dtype=bool)
    same = jnp.sum(jnp.where(diagonal, (1 - correlation) ** 2, 0))
    others = jnp.sum(jnp.where(diagonal, 0, correlation**2))
    agreement = jnp.sum(jnp.where(diagonal, correlation, 0)) / correlation.shape[0]
    return same + off_diagonal * others, agreement


def make(model: Model, *, dims: Sequence[int] = (8192, 8192, 8192), off_diagonal: float = 0.0051,
         scale: float = 1.0) -> Objective:
    """Return Barlow Twins around an encoder that pools.

    Args:
        model: reads image, returns pooled [B, D].
        dims: of the projector's layers; the last is E. CIFAR recipes take 2048 for each.
        off_diagonal: lambda, the weight of redundancy between coordinates.
        scale: of the whole loss; 0.1 in the recipes of small images. It matters where weight
            decay is part of the gradient.
    """
    net = branch(model, mlp(dims, bias="none"))

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        params, stats = net.init(key, batch["view1"])
        return params, {"stats": stats}

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        z1, z2, pooled, stats = both_views(net, params, extra["stats"], batch, key)
        weight = jnp.float32(z1.shape[0])
        value, agreement = redundancy(z1, z2, off_diagonal)
        metrics = {"embedding_std": spread(pooled), "agreement": (agreement * weight, weight)}
        return scale * value * weight, (weight, {"stats": stats}, metrics)

    return Objective(init, loss, unmoved, student_encoder, coupled=True)
