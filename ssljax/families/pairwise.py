"""The sigmoid loss of all pairs of a batch, in blocks that travel round the devices.

Zhai et al. 2023, https://arxiv.org/abs/2303.15343 (section 3.3 and algorithm 1): no normaliser
spans the batch, so every device scores its images against its own texts, then against its
neighbour's, until each text has been everywhere. Nothing larger than ROWS x B / devices logits is
ever held, forwards or backwards. Shapes: B pairs, E embedding.
"""

import math

import jax
import jax.numpy as jnp

from ssljax.core.local import local
from ssljax.core.sharding import BATCH, axis_size

ROWS = 512              # images of a device that are scored at once


def rows_of(count: int) -> int:
    """Return the largest divisor of `count` that is at most ROWS."""
    return max(n for n in range(1, min(count, ROWS) + 1) if count % n == 0)


def block_nats(images: jax.Array, texts: jax.Array, scale: jax.Array, bias: jax.Array,
               paired: jax.Array) -> jax.Array:
    """Return -sum log sigmoid(+-(scale x y + bias)) over a block, f32 [].

    Args:
        images: f32 [n, E].
        texts: f32 [m, E].
        scale: f32 [].
        bias: f32 [].
        paired: i32 [n], which text belongs to each image; none of them where it is not in 0..m-1.
    """
    @jax.checkpoint
    def some(images: jax.Array, paired: jax.Array) -> jax.Array:
        products = jnp.einsum("IE,JE->IJ", images, texts, preferred_element_type=jnp.float32)
        own = paired[:, None] == jnp.arange(texts.shape[0])
        logits = scale * products + bias
        return -jnp.sum(jax.nn.log_sigmoid(jnp.where(own, logits, -logits)))

    rows = rows_of(images.shape[0])
    parts = (images.reshape(-1, rows, images.shape[-1]), paired.reshape(-1, rows))
    return jnp.sum(jax.lax.map(lambda part: some(*part), parts))


def sigmoid_nats(images: jax.Array, texts: jax.Array, scale: jax.Array, bias: jax.Array,
                 ) -> jax.Array:
    """Return the loss summed over all B x B pairs, f32 []; row i of both is a pair.

    Args:
        images: unit rows f32 [B, E].
        texts: unit rows f32 [B, E].
        scale: f32 [], the learned inverse temperature.
        bias: f32 [], learned, against the excess of pairs that do not belong together.
    """
    ways = math.prod(axis_size(name) for name in BATCH)
    on_mesh = not jax.sharding.get_abstract_mesh().empty

    def of_device(images: jax.Array, texts: jax.Array, scale: jax.Array, bias: jax.Array,
                  ) -> jax.Array:
        rows = jnp.arange(images.shape[0])
        total = block_nats(images, texts, scale, bias, rows)
        ring = [(i, (i + 1) % ways) for i in range(ways)]

        def hop(carry: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple, None]:
            texts, total = carry
            texts = jax.lax.ppermute(texts, BATCH, ring)
            return (texts, total + block_nats(images, texts, scale, bias, rows - len(rows))), None

        if ways > 1:
            (_, total), _ = jax.lax.scan(hop, (texts, total), length=ways - 1)
        return jax.lax.psum(total, BATCH) if on_mesh else total

    return local(of_device, ((BATCH, None), (BATCH, None), (), ()), ())(images, texts, scale, bias)
