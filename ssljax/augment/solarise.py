"""Solarisation: bright values inverted; BYOL, https://arxiv.org/abs/2006.07733 (appendix B)."""

import jax
import jax.numpy as jnp

from ssljax.core.types import Key

THRESHOLD = 128 / 255        # the 128 of 8-bit images, the first value that is inverted


def solarise(image: jax.Array, *, threshold: float = THRESHOLD) -> jax.Array:
    """Invert the values of an image [H, W, C] in [0, 1] that are not below the threshold."""
    return jnp.where(image < threshold, image, 1 - image)


def random_solarise(key: Key, image: jax.Array, *, probability: float = 0.2) -> jax.Array:
    """Solarise one image [H, W, C] with this probability."""
    return jnp.where(jax.random.bernoulli(key, probability), solarise(image), image)
