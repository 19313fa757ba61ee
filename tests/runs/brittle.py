"""A plug-in outside the repository: a masked autoencoder whose loss breaks on chosen records."""

from collections.abc import Sequence

import jax.numpy as jnp

from ssljax.core.types import Model, Objective
from ssljax.objectives import mae


def make(model: Model, *, decoder: Model, broken: Sequence[int] = (), factor: float = float("nan"),
         ) -> Objective:
    """Return MAE with the loss of a batch multiplied by `factor` if it holds a broken record."""
    plain = mae.make(model, decoder=decoder, patch_size=2)

    def loss(params, extra, batch, key):
        total, (weight, extra, metrics) = plain.loss(params, extra, batch, key)
        hit = jnp.zeros((), bool)
        for record in broken:
            hit |= jnp.any(batch["id"][:, 0] == jnp.uint32(record))
        return total * jnp.where(hit, factor, 1.0), (weight, extra, metrics)

    return plain._replace(loss=loss)
