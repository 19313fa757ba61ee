"""Gaussian blur of random width, as in SimCLR, https://arxiv.org/abs/2002.05709 (appendix A)."""

import jax
import jax.numpy as jnp

from ssljax.core.types import Key


def blur_matrix(size: int, sigma: jax.Array, radius: int) -> jax.Array:
    """Return the weights [size, size] of a blur along one axis; rows sum to one at borders too."""
    offset = jnp.arange(size)[:, None] - jnp.arange(size)
    weights = jnp.exp(-0.5 * (offset / sigma) ** 2) * (jnp.abs(offset) <= radius)
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def gaussian_blur(image: jax.Array, sigma: jax.Array, *, radius: int) -> jax.Array:
    """Blur one image [H, W, C] with a width of `sigma` pixels, cut off at `radius`.

    Two matrix products: a convolution whose kernel differs by example does not batch.
    """
    rows, columns = (blur_matrix(n, sigma, radius) for n in image.shape[:2])
    return jnp.einsum("IH,HWC,JW->IJC", rows, image, columns)


def random_blur(key: Key, image: jax.Array, *, probability: float = 0.5, min_sigma: float = 0.1,
                max_sigma: float = 2.0) -> jax.Array:
    """Blur one image [H, W, C] with this probability, within a tenth of its height."""
    k_apply, k_sigma = jax.random.split(key)
    sigma = jax.random.uniform(k_sigma, (), minval=min_sigma, maxval=max_sigma)
    blurred = gaussian_blur(image, sigma, radius=max(1, image.shape[0] // 20))
    return jnp.where(jax.random.bernoulli(k_apply, probability), blurred, image)
