"""Losses that layers and objectives share, exact under any layout of the vocabulary."""

import jax
import jax.numpy as jnp


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Return the nats of each target: logits [..., V] of any layout, targets int32 [...].

    The target's logit is a masked sum, not a gather: a vocabulary sharded over tensor has no row
    to gather from, and XLA fuses the comparison away.
    """
    logits = logits.astype(jnp.float32)
    hot = targets[..., None] == jnp.arange(logits.shape[-1])
    return jax.nn.logsumexp(logits, axis=-1) - jnp.sum(jnp.where(hot, logits, 0), axis=-1)
