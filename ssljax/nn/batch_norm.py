"""Batch normalisation over the global batch, Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.

Means are of global arrays, so on a mesh every device normalises by the statistics of all of them
("cross-device" or "synchronised") without a word about it. Running statistics are an input and an
output: nothing is mutated. Shapes: D channels, any axes in front.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import shard
from ssljax.core.types import PyTree

STATS = "stats"     # the collection of Linen variables that holds running statistics


def initial_stats(width: int) -> dict[str, jax.Array]:
    """Return the statistics of nothing seen yet: mean 0 and variance 1, float32 [D]."""
    return {"mean": jnp.zeros(width, jnp.float32), "variance": jnp.ones(width, jnp.float32)}


def batch_norm(x: jax.Array, stats: PyTree, scale: jax.Array | None, bias: jax.Array | None, *,
               train: bool, momentum: float = 0.9, epsilon: float = 1e-5,
               ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Normalise the last axis of x by the batch (training) or by running statistics.

    Args:
        x: [..., D], of any layout; statistics are over all axes but the last, in float32.
        stats: {"mean", "variance"}, float32 [D].
        scale: [D], or None for 1.
        bias: [D], or None for 0.
        train: whether the batch normalises itself and moves the running statistics.
        momentum: what the running statistics keep; the variance they move to is unbiased
            (algorithm 2), the one that normalises is not.
        epsilon: added to the variance.

    Returns:
        y [..., D] of x's dtype, and the new statistics: the old ones where not training.

    Raises:
        ConfigError: the batch has one value a channel, which training cannot normalise.
    """
    count = math.prod(x.shape[:-1])
    if train and count < 2:
        raise ConfigError(f"batch norm of shape {x.shape} sees {count} value a channel, which it "
                          "would turn into 0; train on two rows or more.")
    y = x.astype(jnp.float32)
    mean, variance = stats["mean"], stats["variance"]
    if train:
        # Two passes: a mean of squares minus a squared mean loses what float32 cannot hold where a
        # channel's mean is far from 0.
        axes = tuple(range(x.ndim - 1))
        mean = jnp.mean(y, axis=axes)
        variance = jnp.mean((y - mean) ** 2, axis=axes)
        fresh = {"mean": mean, "variance": variance * (count / (count - 1))}
        stats = {name: moved(stats[name], fresh[name], momentum) for name in fresh}
    factor = jax.lax.rsqrt(variance + epsilon)
    factor = factor if scale is None else factor * scale.astype(jnp.float32)
    y = (y - mean) * factor
    y = y if bias is None else y + bias.astype(jnp.float32)
    return y.astype(x.dtype), dict(stats)


def moved(old: jax.Array, new: jax.Array, momentum: float) -> jax.Array:
    """Return a running statistic after one step, whole on every device and without gradient."""
    new = shard(jax.lax.stop_gradient(new), None)
    return momentum * old + (1 - momentum) * new


class BatchNorm(nn.Module):
    """`batch_norm` with its weights, and its running statistics in the collection STATS.

    Apply with mutable=[STATS] where training.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    scale: float = 1.0        # where the scale starts

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalise the last axis of x [..., D]; returns the same shape and dtype."""
        width = x.shape[-1]
        scale = self.param("scale", nn.initializers.constant(self.scale), (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        start = initial_stats(width)
        stats = {name: self.variable(STATS, name, lambda name=name: start[name]) for name in start}
        y, new = batch_norm(x, {name: s.value for name, s in stats.items()}, scale, bias,
                            train=train, momentum=self.momentum, epsilon=self.epsilon)
        if train and not self.is_initializing():
            for name, variable in stats.items():
                variable.value = new[name]
        return y
