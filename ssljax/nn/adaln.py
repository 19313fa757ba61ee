"""Transformer blocks that a vector of each row steers: adaLN-Zero, Peebles and Xie 2023.

https://arxiv.org/abs/2212.09748, section 3.2: the vector gives the shift and scale of both norms,
and gates that start at 0, so that every block starts as the identity.
Shapes: B batch, N patches, D width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.core.sharding import BATCH, einsum
from ssljax.nn.attention import Attention, SelfAttention
from ssljax.nn.matmul import Matmul
from ssljax.nn.mlp import GELU


def plain_norm(x: jax.Array, epsilon: float = 1e-6) -> jax.Array:
    """Return layer norm of x [..., D] without weights, computed in float32, of x's dtype."""
    y = x.astype(jnp.float32)
    y -= jnp.mean(y, axis=-1, keepdims=True)
    y *= jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + epsilon)
    return y.astype(x.dtype)


def modulated(x: jax.Array, shift: jax.Array, scale: jax.Array) -> jax.Array:
    """Return the normed x [B, N, D], shifted and scaled by vectors [B, D] of its rows."""
    return plain_norm(x) * (1 + scale[:, None]) + shift[:, None]


def modulation(module: nn.Module, condition: jax.Array, count: int) -> list[jax.Array]:
    """Return `count` vectors [B, D] of a condition [B, D], all 0 at the start."""
    width, zeros = condition.shape[-1], nn.initializers.zeros
    w = module.param("w_modulate", zeros, (width, count, width))
    b = module.param("b_modulate", zeros, (count, width))
    y = einsum("BD,DSE->BSE", jax.nn.silu(condition), w, out=(BATCH, None, None)) + b
    return [y[:, i] for i in range(count)]


class AdaBlock(nn.Module):
    """x + gate attention(modulated(x)), then x + gate mlp(modulated(x))."""

    num_heads: int
    mlp_dim: int
    attention: Attention
    matmul: Matmul

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        """Map x [B, N, D] and the condition [B, D] to [B, N, D]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation(self, condition, 6)
        attention = SelfAttention(self.num_heads, None, 1.0, False, self.attention, self.matmul,
                                  name="attention")
        y, _ = attention(modulated(x, shift1, scale1), None, None, None)
        x += gate1[:, None] * y
        mlp = GELU(self.mlp_dim, 1.0, self.matmul, name="mlp")
        return x + gate2[:, None] * mlp(modulated(x, shift2, scale2))
