"""Rotary position embedding, Su et al. 2021, https://arxiv.org/abs/2104.09864."""

import jax
import jax.numpy as jnp


def rotate(x: jax.Array, positions: jax.Array, base: float) -> jax.Array:
    """Rotate pairs (i, i + K/2) of each head by position times base**(-2i/K).

    Args:
        x: [B, L, H, K], K even.
        positions: int32 [B, L].
        base: the longest wavelength is about 2 pi base tokens.

    Returns:
        [B, L, H, K] of x's dtype; angles are float32, since bfloat16 cannot count to 257.
    """
    half = x.shape[-1] // 2
    frequency = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions[..., None, None].astype(jnp.float32) * frequency      # [B, L, 1, K/2]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    a, b = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)
