"""Pre-norm transformer: one block, stacked; scanned, unrolled or pipelined, the same parameters.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; pre-norm as in Xiong et al. 2020,
https://arxiv.org/abs/2002.04745. Every weight of the blocks has the layer as its first axis.
"""

from typing import Any, Literal

import flax.linen as nn
import jax

from ssljax.core.sharding import axis_size, whole_along
from ssljax.core.types import Metrics
from ssljax.nn.attention import Attention, Cache, SelfAttention
from ssljax.nn.matmul import Matmul
from ssljax.nn.mlp import MLPS
from ssljax.nn.moe import Experts, Routing
from ssljax.nn.norm import NORMS
from ssljax.nn.pipeline import pipeline
from ssljax.nn.remat import Remat, rematerialised

Layers = Literal["auto", "scan", "unroll"]
# Beyond this depth, compiling every block takes longer than it saves in most runs.
UNROLL_DEPTH = 16
Rows = dict[str, jax.Array]       # positions, segment_ids: int32 [B, L]


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), the mlp one of many with experts."""

    num_heads: int
    mlp_dim: int
    norm: str
    mlp: str
    rope_base: float | None
    out_scale: float
    causal: bool
    attention: Attention
    experts: int
    experts_per_token: int
    matmul: Matmul
    query_scale: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, rows: Rows, cache: Cache | None,
                 ) -> tuple[jax.Array, Cache | None, Routing]:
        """Map x [B, L, D] to [B, L, D], the new cache, and what the router did."""
        attention = SelfAttention(self.num_heads, self.rope_base, self.out_scale, self.causal,
                                  self.attention, self.matmul, self.query_scale,
                                  name="attention")
        y, cache = attention(NORMS[self.norm](name="norm_attention")(x), rows.get("positions"),
                             rows.get("segment_ids"), cache)
        x += y
        y = NORMS[self.norm](name="norm_mlp")(x)
        if not self.experts:
            mlp = MLPS[self.mlp](self.mlp_dim, self.out_scale, self.matmul, name="mlp")
            return x + mlp(y), cache, {}
        experts = Experts(self.experts, self.experts_per_token, self.mlp_dim, self.out_scale,
                          self.mlp == "swiglu", name="experts")
        padded = rows.get("segment_ids")
        y, routing = experts(y, None if padded is None else padded > 0)
        return x + y, cache, routing


class Transformer(nn.Module):
    """A stack of blocks and a last norm.

    `layers` chooses the program, never the parameters: "scan" compiles one block, "unroll" all of
    them, "auto" decides by depth and remat. Outputs of blocks start at a variance of 1 / (2 depth),
    so that the residual stream's does not grow with depth (GPT-2, section 2.3).
    On a mesh with more than one stage the blocks are a pipeline of `pipeline_microbatches`
    (0: as many as stages) in `pipeline_repeats` rounds.
    """

    depth: int
    num_heads: int
    mlp_dim: int
    norm: str = "rms"
    mlp: str = "swiglu"
    rope_base: float | None = None
    causal: bool = False
    attention: Attention = "auto"
    layers: Layers = "auto"
    remat: Remat = "none"
    matmul: Matmul = "full"
    query_scale: float = 1.0
    experts: int = 0
    experts_per_token: int = 2
    pipeline_microbatches: int = 0
    pipeline_repeats: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, positions: jax.Array | None = None,
                 segment_ids: jax.Array | None = None, cache: Cache | None = None,
                 ) -> tuple[jax.Array, Cache | None, Routing]:
        """Map x [B, L, D] to [B, L, D], the cache (k, v [depth, B, T, H, K]) to the new one.

        The third result is {} or the sums over all layers of nn.moe.routing_sums.
        """
        block = Block(self.num_heads, self.mlp_dim, self.norm, self.mlp, self.rope_base,
                      1 / (2 * self.depth), self.causal, self.attention, self.experts,
                      self.experts_per_token, self.matmul, self.query_scale, parent=None)
        rows = {"positions": positions, "segment_ids": segment_ids}
        rows = {name: row for name, row in rows.items() if row is not None}

        def init(key: jax.Array) -> Any:
            one = lambda key: block.init(key, x, rows, None)["params"]  # noqa: E731
            return jax.lax.map(one, jax.random.split(key, self.depth))

        weights = self.param("blocks", init)
        if not self.is_initializing():
            x, cache, routing = self.run(block, weights, x, rows, cache)
        else:
            routing = {}
        return NORMS[self.norm](name="norm")(x), cache, routing

    def run(self, block: Block, weights: Any, x: jax.Array, rows: Rows, cache: Cache | None,
            ) -> tuple[jax.Array, Cache | None, Routing]:
        """Send x through all blocks: [B, L, D], the new cache and the router's sums."""
        def one(x: jax.Array, layer: Any, rows: Rows) -> tuple[jax.Array, Any]:
            weights, cache = layer
            x, cache, routing = block.apply({"params": weights}, x, rows, cache)
            return x, (cache, routing)

        unrolled = is_unrolled(self.layers, self.depth, self.remat)
        one = rematerialised(one, self.remat, unrolled)

        def stack(weights: Any, x: jax.Array, rows: Rows, cache: Cache | None = None,
                  ) -> tuple[jax.Array, Cache | None, Routing]:
            x, (cache, routing) = jax.lax.scan(
                lambda x, layer: one(x, layer, rows), x, (weights, cache), unroll=unrolled or 1)
            return x, cache, jax.tree.map(lambda s: s.sum(0), routing)

        if axis_size("stage") == 1 or cache is not None:
            # Decoding token by token has no microbatches to fill a pipeline with.
            return stack(whole_along(weights, "stage"), x, rows, cache)
        x, routing = pipeline(lambda w, x, rows: stack(w, x, rows)[::2], weights, x, rows,
                              microbatches=self.pipeline_microbatches,
                              repeats=self.pipeline_repeats)
        return x, None, routing


def is_unrolled(layers: Layers, depth: int, remat: Remat) -> bool:
    """Say whether every block is compiled, as a config asks or as is best.

    Without remat unrolled layers are 10 to 40 % faster on CPUs: nothing is copied into and out of a
    loop's stacks. With remat the loop is what frees memory: unrolled, XLA may schedule what is to
    be computed again beside what is still held.
    """
    return layers == "unroll" or (layers == "auto" and remat == "none" and depth <= UNROLL_DEPTH)


def routing_losses(routing: Routing, depth: int) -> Metrics:
    """Return the losses of the routers of all layers, name -> (sum, weight) over tokens."""
    if not routing:
        return {}
    tokens = routing["tokens"] / depth
    return {name: (routing[name] / depth, tokens) for name in ("balance", "z")}


def routing_metrics(routing: Routing) -> Metrics:
    """Return what the routers did, name -> (sum, weight) over tokens and layers.

    No token is ever dropped; the metric says so beside those of trainers that have a capacity.
    """
    if not routing:
        return {}
    tokens = routing["tokens"]
    return {"router_balance": (routing["balance"], tokens), "router_z": (routing["z"], tokens),
            "router_entropy": (routing["entropy"], tokens),
            "router_busiest": (routing["busiest"], tokens),
            "router_dropped": (0 * tokens, tokens)}
