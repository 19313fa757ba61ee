"""Self-attention: packed documents, a key-value cache, and sequences sharded over context.

Shapes: B batch, L queries, T keys, D width, H heads, K head width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.core.sharding import BATCH, einsum, shard
from ssljax.nn.rope import rotate

Cache = dict[str, jax.Array]      # "k", "v": [B, T, H, K]


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Scaled dot-product attention, softmax in float32; q [B, L, H, K], k and v [B, T, H, K].

    Keys and values are gathered over context first: two lines, right for all but the longest
    sequences. `mask` [B, 1, L, T] is True where a query may look.
    """
    k, v = (shard(t, BATCH, None, "tensor", None) for t in (k, v))
    return jax.nn.dot_product_attention(q, k, v, mask=mask)


def packed_mask(segment_ids: jax.Array, *, causal: bool) -> jax.Array:
    """Return [B, 1, L, L]: True where query and key share a segment (and key <= query)."""
    keys = shard(segment_ids, BATCH, None)
    mask = segment_ids[:, :, None] == keys[:, None, :]
    if causal:
        order = jnp.arange(segment_ids.shape[1])
        mask &= (order[:, None] >= order[None, :])[None]
    return mask[:, None]


def write_cache(cache: Cache, k: jax.Array, v: jax.Array, positions: jax.Array) -> Cache:
    """Put keys, values [B, L, H, K] at `positions` [B, L] of each row; outside is dropped."""
    rows = jnp.arange(positions.shape[0])[:, None]
    return {"k": cache["k"].at[rows, positions].set(k.astype(cache["k"].dtype), mode="drop"),
            "v": cache["v"].at[rows, positions].set(v.astype(cache["v"].dtype), mode="drop")}


def cached_mask(positions: jax.Array, length: int) -> jax.Array:
    """Return [B, 1, L, T]: a query at position p sees cache entries 0..p.

    Right padding needs no length counter: what it wrote is overwritten before it can be seen.
    """
    return (jnp.arange(length) <= positions[:, :, None])[:, None]


class SelfAttention(nn.Module):
    """Multi-head self-attention with optional rotary positions and cache."""

    num_heads: int
    rope_base: float | None
    out_scale: float

    @nn.compact
    def __call__(self, x: jax.Array, positions: jax.Array | None, mask: jax.Array | None,
                 cache: Cache | None) -> tuple[jax.Array, Cache | None]:
        """Attend within x [B, L, D].

        Args:
            x: [B, L, D].
            positions: int32 [B, L]; where rotary positions or the cache need them.
            mask: bool [B, 1, L, L or T].
            cache: keys and values so far; the new ones are written into it.

        Returns:
            [B, L, D] and the new cache.
        """
        d, h = x.shape[-1], self.num_heads
        k = d // h
        w_qkv = self.param("w_qkv", nn.initializers.lecun_normal(0, (1, 2, 3)), (d, 3, h, k))
        w_out = self.param("w_out", nn.initializers.variance_scaling(
            self.out_scale, "fan_in", "truncated_normal", (0, 1), 2), (h, k, d))
        qkv = einsum("BLD,DSHK->SBLHK", x, w_qkv, out=(None, BATCH, "context", "tensor", None))
        q, key, value = qkv[0], qkv[1], qkv[2]
        if self.rope_base is not None:
            q, key = (rotate(t, positions, self.rope_base) for t in (q, key))
        if cache is not None:
            cache = write_cache(cache, key, value, positions)
            key, value = (cache[n].astype(q.dtype) for n in ("k", "v"))
        y = attend(q, key, value, mask)
        return einsum("BLHK,HKD->BLD", y, w_out, out=(BATCH, "context", None)), cache
