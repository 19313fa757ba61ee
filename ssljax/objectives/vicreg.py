"""VICReg: views agree, every coordinate varies, and no two coordinates say the same.

Bardes et al. 2022, https://arxiv.org/abs/2105.04906. Reads view1, view2 f32 [B, H, W, C]. Variance
and covariance are of the global batch, whatever the mesh. Evaluation uses the encoder without its
head, the paper's expander.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.heads import mlp
from ssljax.families.health import spread
from ssljax.families.joint import both_views, branch, products, student_encoder, unmoved

TINY = {"dims": (32, 16)}
VARIANCE_PAIR = {"sum": 1.0, "mean": 0.5}


class Terms(NamedTuple):
    """The three terms of equation 6 without their weights, f32 []."""

    invariance: jax.Array
    variance: jax.Array
    covariance: jax.Array


def centred(z: jax.Array) -> jax.Array:
    """Return z [B, E] less the mean of each column, in float32."""
    z = z.astype(jnp.float32)
    return z - jnp.mean(z, axis=0)


def hinge(z: jax.Array) -> jax.Array:
    """Equation 1: by how much the columns of centred z [B, E] fall short of deviation 1, mean."""
    variance = jnp.sum(z * z, axis=0) / (z.shape[0] - 1)
    return jnp.mean(jax.nn.relu(1 - jnp.sqrt(variance + 1e-4)))


def redundancy(z: jax.Array) -> jax.Array:
    """Equation 4: squared covariances of different columns of centred z [B, E], over E."""
    covariance = products(z, z) / (z.shape[0] - 1)
    others = jnp.where(jnp.eye(z.shape[1], dtype=bool), 0, covariance)
    return jnp.sum(others**2) / z.shape[1]


def terms(z1: jax.Array, z2: jax.Array, variance_pair: str) -> Terms:
    """Return the terms of embeddings [B, E] of both views of the same images."""
    z1, z2 = z1.astype(jnp.float32), z2.astype(jnp.float32)
    c1, c2 = centred(z1), centred(z2)
    variance = VARIANCE_PAIR[variance_pair] * (hinge(c1) + hinge(c2))
    return Terms(jnp.mean((z1 - z2) ** 2), variance, redundancy(c1) + redundancy(c2))


def make(model: Model, *, dims: Sequence[int] = (8192, 8192, 8192), invariance: float = 25.0,
         variance: float = 25.0, covariance: float = 1.0,
         variance_pair: Literal["sum", "mean"] = "sum") -> Objective:
    """Return VICReg around an encoder that pools.

    Args:
        model: reads image, returns pooled [B, D].
        dims: of the expander's layers; the last is E. CIFAR recipes take 2048 for each.
        invariance: weight of the views' mean squared distance.
        variance: weight of the hinge that keeps every coordinate alive.
        covariance: weight of the covariances.
        variance_pair: how the hinges of the two views join: "sum" as in equation 6, "mean" as in
            the released code, where the variance has half the weight that the paper says.
    """
    net = branch(model, mlp(dims, bias="none"))

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        params, stats = net.init(key, batch["view1"])
        return params, {"stats": stats}

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        z1, z2, pooled, stats = both_views(net, params, extra["stats"], batch, key)
        weight = jnp.float32(z1.shape[0])
        t = terms(z1, z2, variance_pair)
        value = invariance * t.invariance + variance * t.variance + covariance * t.covariance
        metrics = {name: (term * weight, weight) for name, term in t._asdict().items()}
        metrics["embedding_std"] = spread(pooled)
        return value * weight, (weight, {"stats": stats}, metrics)

    return Objective(init, loss, unmoved, student_encoder, coupled=True)
