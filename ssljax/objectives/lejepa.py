"""LeJEPA: views agree, and their embeddings are distributed as an isotropic Gaussian.

Balestriero and LeCun 2025, https://arxiv.org/abs/2511.08544. Reads view1, view2 f32 [B, H, W, C]
and, where the pretext makes them, local f32 [B, V, h, w, C]. One network, no teacher and no
stop-gradient: SIGReg, a test of normality along random directions, forbids collapse. All views are
in both terms. Evaluation uses the encoder without its head.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.core.sharding import BATCH, einsum, shard
from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.heads import mlp
from ssljax.families.health import spread
from ssljax.families.joint import (
    both_views,
    branch,
    local_embeddings,
    student_encoder,
    unmoved,
)

TINY = {"dims": (32, 16), "directions": 16}
KNOTS, LARGEST = 17, 3.0         # the quadrature of the characteristic function over [0, 3]


def random_directions(key: Key, width: int, count: int) -> jax.Array:
    """Return unit columns [width, count]: from the step's key alone, so the same on all devices."""
    a = jax.random.normal(key, (width, count))
    return a * jax.lax.rsqrt(jnp.sum(a * a, axis=0))


def sigreg(z: jax.Array, directions: jax.Array) -> jax.Array:
    """Return B times the Epps-Pulley distance of z's rows from a standard normal, f32 [].

    For each direction the empirical characteristic function is held against exp(-t^2 / 2), whose
    weight is itself, by the trapezoid rule on [0, 3]; twice the positive half is the whole line.

    Args:
        z: [B, E], the global batch.
        directions: unit columns [E, S]; the result is their mean.
    """
    u = einsum("BE,ES->BS", z.astype(jnp.float32), directions, out=(BATCH, None))
    knots = jnp.linspace(0, LARGEST, KNOTS)
    weights = jnp.full(KNOTS, 2 * LARGEST / (KNOTS - 1)).at[jnp.array([0, -1])].multiply(0.5)

    # One knot at a time, computed again for the gradient: all at once would hold 34 copies of u.
    @jax.checkpoint
    def knot(total: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        t, weight = at
        normal = jnp.exp(-t * t / 2)
        cos, sin = jnp.mean(jnp.cos(u * t), axis=0), jnp.mean(jnp.sin(u * t), axis=0)
        error = shard((cos - normal) ** 2 + sin**2, None)
        return total + weight * normal * jnp.mean(error), None

    total, _ = jax.lax.scan(knot, jnp.float32(0), (knots, weights))
    return z.shape[0] * total


def disagreement(views: Sequence[jax.Array], centre: jax.Array) -> jax.Array:
    """Return the mean squared distance of all views [B, E] from the centre [B, E], f32 []."""
    return sum(jnp.mean((centre - z) ** 2) for z in views) / len(views)


def make(model: Model, *, dims: Sequence[int] = (2048, 2048, 128), sigreg_weight: float = 0.05,
         directions: int = 1024) -> Objective:
    """Return LeJEPA around an encoder that pools.

    Args:
        model: reads image, returns pooled [B, D].
        dims: of the projector's layers; the last is E.
        sigreg_weight: lambda in (1 - lambda) agreement + lambda SIGReg, the one hyper-parameter.
        directions: S, drawn anew at every step.
    """
    net = branch(model, mlp(dims))

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        params, stats = net.init(key, batch["view1"])
        return params, {"stats": stats}

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        k_views, k_local, k_directions = jax.random.split(key, 3)
        z1, z2, pooled, stats = both_views(net, params, extra["stats"], batch, k_views)
        views = [z1.astype(jnp.float32), z2.astype(jnp.float32)]
        centre = (views[0] + views[1]) / 2           # of the global views only, with its gradient
        if "local" in batch:
            z, stats = local_embeddings(net, params, stats, batch["local"], k_local)
            views += [z[:, v].astype(jnp.float32) for v in range(z.shape[1])]
        axes = random_directions(k_directions, z1.shape[-1], directions)
        normality = sum(sigreg(z, axes) for z in views) / len(views)
        agreement = disagreement(views, centre)
        value = (1 - sigreg_weight) * agreement + sigreg_weight * normality
        weight = jnp.float32(z1.shape[0])
        metrics = {"embedding_std": spread(pooled), "disagreement": (agreement * weight, weight),
                   "sigreg": (normality * weight, weight)}
        return value * weight, (weight, {"stats": stats}, metrics)

    return Objective(init, loss, unmoved, student_encoder, coupled=True)
