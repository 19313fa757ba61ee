"""Brightness without colour; weights of ITU-R BT.601."""

import jax
import jax.numpy as jnp

from ssljax.core.types import Key

LUMA = (0.299, 0.587, 0.114)


def luma(image: jax.Array) -> jax.Array:
    """Return the brightness [H, W, 1] of an image with one or three channels."""
    if image.shape[-1] == 1:
        return image
    return jnp.sum(image * jnp.array(LUMA, image.dtype), axis=-1, keepdims=True)


def random_grayscale(key: Key, image: jax.Array, *, probability: float = 0.2) -> jax.Array:
    """Replace every channel of one image [H, W, C] by the brightness with this probability."""
    gray = jnp.broadcast_to(luma(image), image.shape)
    return jnp.where(jax.random.bernoulli(key, probability), gray, image)
