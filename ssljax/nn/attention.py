"""Self-attention: packed documents, a key-value cache, sequences sharded over context.

One function, `attend`, hides which program computes it; `choose_attention` says which and why.
Shapes: B batch, L queries, T keys, D width, H heads, K head width.
"""

import functools
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from absl import logging

from ssljax.core.errors import ConfigError
from ssljax.core.local import local
from ssljax.core.sharding import BATCH, axis_size, shard
from ssljax.nn.blockwise import blockwise_attention, causal_blocks
from ssljax.nn.low_rank import adapted
from ssljax.nn.matmul import Matmul, project
from ssljax.nn.paged import paged_attention, write_pages
from ssljax.nn.remat import named
from ssljax.nn.ring import ring_attention
from ssljax.nn.rope import rotate

Cache = dict[str, jax.Array]      # "k", "v": [B, T, H, K]; with a table, pages (nn/paged.py)
Attention = Literal["auto", "xla", "cudnn", "splash", "ring"]
QKV = (BATCH, "context", "tensor", None)
KEYS = (BATCH, None, "tensor", None)          # gathered over context
# Gathered keys need scores of [L / n, L] a head without a fused kernel, the ring [L / n, L / n]:
# at 16,384 tokens over 8 devices 2,594 and 270 MiB for 4 heads. Below, one gather is simpler.
RING_LENGTH = 8192


class Choice(NamedTuple):
    """The program that computes attention, and why it was chosen."""

    name: str
    why: str


def choose_attention(wanted: Attention, *, platform: str, dtype: jax.typing.DTypeLike,
                     head_width: int, length: int, context: int = 1, cached: bool = False,
                     ) -> Choice:
    """Choose a program for attention.

    Args:
        wanted: what the config asks for; "auto" takes the fastest that is known to be right.
        platform: "cpu", "tpu", "cuda" (NVIDIA, Ampere or newer) or "gpu" (any other).
        dtype: of queries, keys and values.
        head_width: K.
        length: L, tokens of the whole sequence.
        context: devices that share a sequence.
        cached: whether keys come from a cache, with a mask of their own.

    Raises:
        ConfigError: a program is asked for that cannot run here.
    """
    half = jnp.dtype(dtype).itemsize == 2
    refusals = {
        "cudnn": (f"{platform} is not a supported NVIDIA GPU" if platform != "cuda" else
                  f"it needs 16-bit numbers, not {jnp.dtype(dtype).name}" if not half else
                  f"head width {head_width} is not a multiple of 8 up to 128"
                  if head_width % 8 or head_width > 128 else
                  # A biased backward pass takes whole pairs, on every device.
                  f"length {length} is odd on a device" if length // context % 2 else ""),
        # Exported programs are in float32, and must not hold a kernel of where they were made.
        "splash": (f"{platform} is not a TPU" if platform != "tpu" else
                   f"it needs 16-bit numbers, not {jnp.dtype(dtype).name}" if not half else
                   "the sequence is shared by several devices" if context > 1 else
                   f"head width {head_width} or length {length} is not a multiple of 128"
                   if head_width % 128 or length % 128 else ""),
        "ring": "" if context > 1 else "the mesh has one device along context",
        "xla": ""}
    if cached:
        return Choice("xla", "keys come from a cache")
    if wanted != "auto":
        if refusals[wanted]:
            raise ConfigError(f'attention "{wanted}" cannot run here: {refusals[wanted]}. '
                              'Use attention="auto".')
        return Choice(wanted, "asked for by the config")
    for name in ("cudnn", "splash"):
        if not refusals[name]:
            return Choice(name, f"fused on {platform}")
    reasons = "; ".join(f"no {name}: {refusals[name]}" for name in ("cudnn", "splash"))
    if context > 1 and length >= RING_LENGTH:
        return Choice("ring", f"{length} tokens over {context} devices; {reasons}")
    return Choice("xla", reasons)


def platform() -> str:
    """Return the kind of the default device, as `choose_attention` names them."""
    device = jax.devices()[0]
    major = str(getattr(device, "compute_capability", "")).partition(".")[0]
    cuda = device.platform == "gpu" and major.isdecimal() and int(major) >= 8
    return "cuda" if cuda else device.platform


@functools.cache
def announce(choice: Choice, length: int, heads: int, head_width: int, dtype: str) -> None:
    """Log a choice when it is first compiled; the cache keeps repeated traces silent."""
    logging.info("Attention of %d tokens, %d heads of %d, %s: %s (%s).", length, heads, head_width,
                 dtype, choice.name, choice.why)


def attend(q: jax.Array, k: jax.Array, v: jax.Array, *, causal: bool,
           segment_ids: jax.Array | None = None, mask: jax.Array | None = None,
           kind: Attention = "auto") -> jax.Array:
    """Scaled dot-product attention, softmax in float32.

    The fused programs make no [L, L] mask of causal order alone.

    Args:
        q: [B, L, H, K].
        k: [B, T, H, K].
        v: [B, T, H, K].
        causal: whether a token sees only itself and earlier tokens of its row.
        segment_ids: int32 [B, L]; tokens see only their own segment. T = L.
        mask: bool [B, 1, L, T] instead of both, True where a query may look (a cache's).
        kind: the program, or "auto".

    Returns:
        [B, L, H, K].
    """
    length, heads, head_width = q.shape[1:]
    choice = choose_attention(
        kind, platform=platform(), dtype=q.dtype, head_width=head_width, length=length,
        context=axis_size("context"), cached=mask is not None)
    announce(choice, length, heads, head_width, q.dtype.name)
    if choice.name == "ring":
        return ring_attention(q, k, v, causal=causal, segment_ids=segment_ids)
    if choice.name == "splash":
        return splash_attention(q, k, v, causal=causal, segment_ids=segment_ids)
    if choice.name == "cudnn":
        return cudnn_attention(q, k, v, causal=causal, segment_ids=segment_ids)
    # Two lines gather keys and values over context: right for all but the longest sequences.
    k, v = (shard(t, *KEYS) for t in (k, v))
    blocks = 1
    if mask is None:
        blocks = causal_blocks(length) if causal and axis_size("context") == 1 else 1
        mask = in_order(length)[None, None] if causal else None
        if segment_ids is not None:
            mask = packed_mask(segment_ids, causal=causal)
    return blockwise_attention(q, k, v, mask, blocks)


def in_order(length: int) -> jax.Array:
    """Return [L, L]: True where a key is not after the query."""
    order = jnp.arange(length)
    return order[:, None] >= order[None, :]


def packed_mask(segment_ids: jax.Array, *, causal: bool) -> jax.Array:
    """Return [B, 1, L, L]: True where query and key share a segment (and key <= query)."""
    keys = shard(segment_ids, BATCH, None)
    mask = segment_ids[:, :, None] == keys[:, None, :]
    if causal:
        mask &= in_order(segment_ids.shape[1])[None]
    return mask[:, None]


def cudnn_attention(q: jax.Array, k: jax.Array, v: jax.Array, *, causal: bool,
                    segment_ids: jax.Array | None) -> jax.Array:
    """Compute attention by cuDNN, each device on its own rows and heads.

    Packed documents and a sequence over several devices reach it as a mask, which it reads as a
    16-bit bias: 2 L**2 bytes a row, still without the float32 scores of every head. Its own
    causal mask would count a device's queries from zero.
    """
    program = functools.partial(jax.nn.dot_product_attention, implementation="cudnn")
    if segment_ids is None and (axis_size("context") == 1 or not causal):
        return local(functools.partial(program, is_causal=causal), (QKV, KEYS, KEYS), QKV,
                     check=False)(q, k, v)
    segments = segment_ids if segment_ids is not None else jnp.zeros_like(q[:, :, 0, 0], jnp.int32)
    mask = packed_mask(shard(segments, BATCH, "context"), causal=causal)
    return local(lambda q, k, v, mask: program(q, k, v, mask=mask),
                 (QKV, KEYS, KEYS, (BATCH, None, "context", None)), QKV, check=False)(q, k, v, mask)


def splash_attention(q: jax.Array, k: jax.Array, v: jax.Array, *, causal: bool,
                     segment_ids: jax.Array | None, interpret: bool = False) -> jax.Array:
    """Compute attention by JAX's Pallas kernel for TPUs, which skips tiles that are masked whole.

    `interpret` runs the kernel's Python on any device, for tests.
    """
    from jax.experimental.pallas.ops.tpu.splash_attention import (  # imports Pallas: only on TPUs
        splash_attention_kernel as kernel,
    )
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    length = q.shape[1]
    # Larger tiles keep the matrix unit busy; the kernel's own default of 128 does not.
    tile = next(t for t in (512, 256, 128) if length % t == 0)
    sizes = kernel.BlockSizes(**dict.fromkeys(
        ("block_q", "block_kv", "block_kv_compute", "block_q_dkv", "block_kv_dkv",
         "block_kv_dkv_compute", "block_q_dq", "block_kv_dq"), tile))
    form = masks.CausalMask if causal else masks.FullMask

    def run(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array) -> jax.Array:
        heads = masks.MultiHeadMask([form((length, length))] * q.shape[2])
        program = kernel.make_splash_mha(heads, block_sizes=sizes, head_shards=1, q_seq_shards=1,
                                         interpret=interpret)
        q, k, v = (t.swapaxes(1, 2) for t in (q * q.shape[-1] ** -0.5, k, v))     # [B, H, L, K]
        each = jax.vmap(lambda q, k, v, ids: program(q, k, v, kernel.SegmentIds(ids, ids)))
        return each(q, k, v, segments).swapaxes(1, 2)

    segments = segment_ids if segment_ids is not None else jnp.zeros(q.shape[:2], jnp.int32)
    return local(run, (QKV, KEYS, KEYS, (BATCH, None)), QKV, check=False)(q, k, v, segments)


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


def project_qkv(x: jax.Array, w_qkv: jax.Array, matmul: Matmul, *,
                parts: bool) -> list[jax.Array]:
    """Return queries, keys and values [B, L, H, K] of x [B, L, D], by one product or `parts`.

    One product is best on accelerators, and where no gradient is wanted: parts of the weight are
    copied out of it. For training on one CPU three are: the gradient of the split would be a
    concatenation of three activations, which cost as much as a tenth of the product.
    """
    if parts:
        return [project("BLD,DHK->BLHK", x, w[:, 0], out=QKV, matmul=matmul)
                for w in jnp.split(w_qkv, 3, axis=1)]
    qkv = project("BLD,DSHK->BLSHK", x, w_qkv, out=(BATCH, "context", None, "tensor", None),
                  matmul=matmul)
    return [t[:, :, 0] for t in jnp.split(qkv, 3, axis=2)]


class SelfAttention(nn.Module):
    """Multi-head self-attention with optional rotary positions and cache."""

    num_heads: int
    rope_base: float | None
    out_scale: float
    causal: bool
    attention: Attention
    matmul: Matmul = "full"
    query_scale: float = 1.0        # beside 1 / sqrt(K)
    bias: bool = False              # of all four products

    @nn.compact
    def __call__(self, x: jax.Array, positions: jax.Array | None, segment_ids: jax.Array | None,
                 cache: Cache | None, table: jax.Array | None = None,
                 ) -> tuple[jax.Array, Cache | None]:
        """Attend within x [B, L, D].

        Args:
            x: [B, L, D].
            positions: int32 [B, L]; where rotary positions or the cache need them.
            segment_ids: int32 [B, L] of packed documents.
            cache: keys and values so far; the new ones are written into it.
            table: int32 [B, N] of a cache in pages.

        Returns:
            [B, L, D] and the new cache.
        """
        d, h = x.shape[-1], self.num_heads
        k = d // h
        w_qkv = self.param("w_qkv", nn.initializers.lecun_normal(0, (1, 2, 3)), (d, 3, h, k))
        w_out = self.param("w_out", nn.initializers.variance_scaling(
            self.out_scale, "fan_in", "truncated_normal", (0, 1), 2), (h, k, d))
        alone = jax.sharding.get_abstract_mesh().empty and platform() == "cpu"
        products = project_qkv(x, w_qkv, self.matmul, parts=alone and table is None)
        q, key, value = adapted(self, "w_qkv", x, *products)
        if self.bias:
            b_qkv = self.param("b_qkv", nn.initializers.zeros, (3, h, k))
            q, key, value = (t + b for t, b in zip((q, key, value), b_qkv, strict=True))
        q, key, value = (named(t, "qkv") for t in (q, key, value))
        if self.rope_base is not None:
            q, key = (rotate(t, positions, self.rope_base) for t in (q, key))
        if self.query_scale != 1:
            q = q * self.query_scale
        mask = None
        if table is not None:
            cache = write_pages(cache, key, value, positions, table)
            y = paged_attention(q, cache, table, positions)
        else:
            if cache is not None:
                cache = write_cache(cache, key, value, positions)
                key, value = (cache[n].astype(q.dtype) for n in ("k", "v"))
                mask, segment_ids = cached_mask(positions, key.shape[1]), None
            y = named(attend(q, key, value, causal=self.causal, segment_ids=segment_ids, mask=mask,
                             kind=self.attention), "attention")
        [y] = adapted(self, "w_out", y, project(
            "BLHK,HKD->BLD", y, w_out, out=(BATCH, "context", None), matmul=self.matmul))
        return y + self.param("b_out", nn.initializers.zeros, (d,)) if self.bias else y, cache
