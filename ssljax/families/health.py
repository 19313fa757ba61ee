"""Signs of collapse that cost nothing: what every method logs beside its loss.

`embedding_std` is the collapse indicator of SimSiam (Chen & He 2021, section 4.1,
https://arxiv.org/abs/2011.10566): the deviation over the batch of each coordinate of a unit
vector, times sqrt(D). Unit vectors in all directions score 1, one vector for all images scores 0.
The figures of soft assignments are those by which DINO tells its two collapses apart (Caron et al.
2021, section 5.3, https://arxiv.org/abs/2104.14294): all to one prototype (entropy 0, divergence
from uniform 1) or everything alike to all of them (entropy 1, divergence 0).
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import entr

from ssljax.core.types import Metrics

EPSILON = 1e-12                 # squared length below which a row counts as zero


def spread(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (sum, weight) of `embedding_std` for the rows of z [..., D], any leading axes.

    The statistics are those of the global batch. Rows of zeros add nothing to it, so a network
    that died scores 0 as well.
    """
    z = jax.lax.stop_gradient(z).astype(jnp.float32)
    z = z * jax.lax.rsqrt(jnp.sum(z * z, axis=-1, keepdims=True) + EPSILON)
    deviation = jnp.std(z, axis=tuple(range(z.ndim - 1)))
    rows = jnp.float32(z.size // z.shape[-1])
    return jnp.mean(deviation) * z.shape[-1] ** 0.5 * rows, rows


def assignment_metrics(probabilities: jax.Array, prefix: str = "teacher") -> Metrics:
    """Return how soft assignments [..., K] use their K prototypes, each as (sum, weight).

    Returns:
        {prefix}_entropy: mean entropy of a row / log K; 1 means rows say nothing.
        {prefix}_kl_uniform: KL(mean row, uniform) / log K; 1 means all rows say the same.
        {prefix}_use: exp(entropy of the mean row) / K, the fraction of prototypes in use.
    """
    p = jax.lax.stop_gradient(probabilities).astype(jnp.float32)
    rows, most = jnp.float32(p.size // p.shape[-1]), jnp.log(jnp.float32(p.shape[-1]))
    entropies = jnp.sum(entr(p), axis=-1)
    of_mean = jnp.sum(entr(jnp.mean(p, axis=tuple(range(p.ndim - 1)))))
    values = {"entropy": jnp.mean(entropies) / most, "kl_uniform": 1 - of_mean / most,
              "use": jnp.exp(of_mean - most)}
    return {f"{prefix}_{name}": (value * rows, rows) for name, value in values.items()}
