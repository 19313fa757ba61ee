"""Random mirroring from left to right."""

import jax
import jax.numpy as jnp

from ssljax.core.types import Key


def random_flip(key: Key, image: jax.Array, *, probability: float = 0.5) -> jax.Array:
    """Mirror one image [H, W, C] with this probability."""
    return jnp.where(jax.random.bernoulli(key, probability), image[:, ::-1], image)
