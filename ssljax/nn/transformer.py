"""Pre-norm transformer: one block, stacked; layers scanned or unrolled over the same parameters.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; pre-norm as in Xiong et al. 2020,
https://arxiv.org/abs/2002.04745. Every weight of the blocks has the layer as its first axis.
"""

from typing import Literal

import flax.linen as nn
import jax

from ssljax.nn.attention import Attention, Cache, SelfAttention
from ssljax.nn.mlp import MLPS
from ssljax.nn.norm import NORMS

Layers = Literal["scan", "unroll"]
Remat = Literal["none", "dots", "full"]
REMAT_POLICIES = {"dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "full": None}


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    num_heads: int
    mlp_dim: int
    norm: str
    mlp: str
    rope_base: float | None
    out_scale: float
    causal: bool
    attention: Attention

    @nn.compact
    def __call__(self, x: jax.Array, cache: Cache | None, positions: jax.Array | None,
                 segment_ids: jax.Array | None) -> tuple[jax.Array, Cache | None]:
        """Map x [B, L, D] to [B, L, D]; in the argument order of a scan: carry, slice, shared."""
        attention = SelfAttention(self.num_heads, self.rope_base, self.out_scale, self.causal,
                                  self.attention, name="attention")
        x_norm = NORMS[self.norm](name="norm_attention")(x)
        y, cache = attention(x_norm, positions, segment_ids, cache)
        x += y
        mlp = MLPS[self.mlp](self.mlp_dim, self.out_scale, name="mlp")
        return x + mlp(NORMS[self.norm](name="norm_mlp")(x)), cache


class Transformer(nn.Module):
    """A stack of blocks and a last norm.

    `layers` chooses the program, never the parameters: "scan" compiles one block, "unroll" all of
    them (faster without remat, slower to compile). Outputs of blocks start at a variance of
    1 / (2 depth), so that the residual stream's does not grow with depth (GPT-2, section 2.3).
    """

    depth: int
    num_heads: int
    mlp_dim: int
    norm: str = "rms"
    mlp: str = "swiglu"
    rope_base: float | None = None
    causal: bool = False
    attention: Attention = "auto"
    layers: Layers = "scan"
    remat: Remat = "none"

    @nn.compact
    def __call__(self, x: jax.Array, positions: jax.Array | None = None,
                 segment_ids: jax.Array | None = None, cache: Cache | None = None,
                 ) -> tuple[jax.Array, Cache | None]:
        """Map x [B, L, D] to [B, L, D] and the cache (k, v [depth, B, T, H, K]) to the new one."""
        unrolled = self.layers == "unroll"
        block = Block
        if self.remat != "none":
            block = nn.remat(Block, policy=REMAT_POLICIES[self.remat], prevent_cse=unrolled)
        stack = nn.scan(
            block, length=self.depth, unroll=self.depth if unrolled else 1,
            in_axes=(0, nn.broadcast, nn.broadcast), out_axes=0,
            variable_axes={"params": 0}, split_rngs={"params": True})
        x, cache = stack(self.num_heads, self.mlp_dim, self.norm, self.mlp, self.rope_base,
                         1 / (2 * self.depth), self.causal, self.attention,
                         name="blocks")(x, cache, positions, segment_ids)
        return NORMS[self.norm](name="norm")(x), cache
