"""Pre-norm transformer: one block, stacked; scanned, unrolled or pipelined, the same parameters.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; pre-norm as in Xiong et al. 2020,
https://arxiv.org/abs/2002.04745. Every weight of the blocks has the layer as its first axis.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.core.sharding import BATCH, axis_size, shard, whole_along
from ssljax.core.types import Metrics
from ssljax.nn.attention import Attention, Cache, SelfAttention
from ssljax.nn.low_rank import ADAPTERS, of_rows
from ssljax.nn.matmul import Matmul
from ssljax.nn.mlp import MLPS
from ssljax.nn.moe import Experts, Routing
from ssljax.nn.norm import NORMS
from ssljax.nn.pipeline import pipeline
from ssljax.nn.remat import Remat, rematerialised

Layers = Literal["auto", "scan", "unroll"]
# Beyond this depth, compiling every block takes longer than it saves in most runs.
UNROLL_DEPTH = 16
# positions int32 [B, L] or float32 [B, L, 2], segment_ids int32 [B, L], table int32 [B, N],
# adapter int32 [B]
Rows = dict[str, jax.Array]


class Drop(NamedTuple):
    """Stochastic depth: how often a block's branch is left out (float32 []), and the key."""

    rate: jax.Array
    key: jax.Array


def dropped(y: jax.Array, drop: Drop) -> jax.Array:
    """Zero whole rows of y [B, ..., D] and scale up the others, so that the mean stays.

    Huang et al. 2016, https://arxiv.org/abs/1603.09382. A row's draw is of its place in the global
    batch: the same on any mesh.
    """
    draw = jax.vmap(lambda row: jax.random.uniform(jax.random.fold_in(drop.key, row)))(
        jnp.arange(y.shape[0]))
    factor = jnp.where(draw < drop.rate, 0, 1 / (1 - drop.rate))
    factor = jnp.expand_dims(shard(factor, BATCH), range(1, y.ndim))
    return y * factor.astype(y.dtype)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), the mlp one of many with experts.

    With `layer_scale` both summands are scaled by learned vectors that start at it (Touvron et al.
    2021, https://arxiv.org/abs/2103.17239).
    """

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
    layer_scale: float = 0.0
    attention_bias: bool = False
    norm_epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array, rows: Rows, cache: Cache | None, drop: Drop | None = None,
                 ) -> tuple[jax.Array, Cache | None, Routing, jax.Array]:
        """Map x [B, L, D] to [B, L, D], the new cache, what the router did, and the mlp's y."""
        attention = SelfAttention(self.num_heads, self.rope_base, self.out_scale, self.causal,
                                  self.attention, self.matmul, self.query_scale,
                                  self.attention_bias, name="attention")
        norm = NORMS[self.norm]
        y, cache = attention(norm(self.norm_epsilon, name="norm_attention")(x),
                             rows.get("positions"), rows.get("segment_ids"), cache,
                             rows.get("table"))
        x += self.summand("attention", y, drop)
        y = norm(self.norm_epsilon, name="norm_mlp")(x)
        if not self.experts:
            mlp = MLPS[self.mlp](self.mlp_dim, self.out_scale, self.matmul, name="mlp")
            y = mlp(y)
            return x + self.summand("mlp", y, drop), cache, {}, y
        experts = Experts(self.experts, self.experts_per_token, self.mlp_dim, self.out_scale,
                          self.mlp == "swiglu", name="experts")
        padded = rows.get("segment_ids")
        y, routing = experts(y, None if padded is None else padded > 0)
        return x + self.summand("mlp", y, drop), cache, routing, y

    def summand(self, branch: str, y: jax.Array, drop: Drop | None) -> jax.Array:
        """Return what a branch's result y [B, L, D] adds to the residual stream."""
        if self.layer_scale:
            start = nn.initializers.constant(self.layer_scale)
            y *= self.param(f"gamma_{branch}", start, (y.shape[-1],)).astype(y.dtype)
        if drop is None:
            return y
        number = ("attention", "mlp").index(branch)
        return dropped(y, drop._replace(key=jax.random.fold_in(drop.key, number)))


class Transformer(nn.Module):
    """A stack of blocks and a last norm.

    `layers` chooses the program, never the parameters: "scan" compiles one block, "unroll" all of
    them, "auto" decides by depth and remat. Outputs of blocks start at a variance of 1 / (2 depth),
    so that the residual stream's does not grow with depth (GPT-2, section 2.3).
    On a mesh with more than one stage the blocks are a pipeline of `pipeline_microbatches`
    (0: as many as stages) in `pipeline_repeats` rounds.
    `drop_path` is the rate of stochastic depth of the last block; earlier ones' grow linearly to it
    from 0, or are the same with `drop_path_uniform`. It needs a key, without which nothing is
    dropped.
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
    layer_scale: float = 0.0
    drop_path: float = 0.0
    drop_path_uniform: bool = False
    collect: int = 0
    attention_bias: bool = False
    norm_epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array, positions: jax.Array | None = None,
                 segment_ids: jax.Array | None = None, cache: Cache | None = None,
                 key: jax.Array | None = None, table: jax.Array | None = None,
                 adapter: jax.Array | None = None,
                 ) -> tuple[jax.Array, Cache | None, Routing, jax.Array | None]:
        """Map x [B, L, D] to [B, L, D], the cache (k, v [depth, B, T, H, K]) to the new one.

        With a `table` the cache is in pages (nn/paged.py). Blocks may also be given one by one
        (nn/stack.py); then so is the cache, and each may have adapters (nn/low_rank.py), of which
        `adapter` int32 [B] chooses.
        The third result is {} or the sums over all layers of nn.moe.routing_sums, the fourth
        [collect, B, L, D], what the mlps of the last `collect` blocks return, if any.
        """
        block = Block(self.num_heads, self.mlp_dim, self.norm, self.mlp, self.rope_base,
                      1 / (2 * self.depth), self.causal, self.attention, self.experts,
                      self.experts_per_token, self.matmul, self.query_scale,
                      self.layer_scale, self.attention_bias, self.norm_epsilon, parent=None)
        rows = {"positions": positions, "segment_ids": segment_ids, "table": table,
                "adapter": adapter}
        rows = {name: row for name, row in rows.items() if row is not None}

        def init(key: jax.Array) -> Any:
            one = lambda key: block.init(key, x, rows, None)["params"]  # noqa: E731
            return jax.lax.map(one, jax.random.split(key, self.depth))

        given = self.get_variable("params", "blocks", {})
        weights = given if "0" in given else self.param("blocks", init)
        if not self.is_initializing():
            x, cache, routing, kept = self.run(block, weights, x, rows, cache, self.drops(key))
        else:
            routing, kept = {}, None
        return NORMS[self.norm](self.norm_epsilon, name="norm")(x), cache, routing, kept

    def drops(self, key: jax.Array | None) -> Drop | None:
        """Return the rate [depth] and key of every block; None where nothing is dropped."""
        if not self.drop_path or key is None:
            return None
        first = self.drop_path if self.drop_path_uniform else 0
        rates = jnp.linspace(first, self.drop_path, self.depth, dtype=jnp.float32)
        return Drop(rates, jax.random.split(key, self.depth))

    def run(self, block: Block, weights: Any, x: jax.Array, rows: Rows, cache: Cache | None,
            drops: Drop | None) -> tuple[jax.Array, Cache | None, Routing, jax.Array | None]:
        """Send x through all blocks; returns what a call does, before the last norm."""
        def one(x: jax.Array, layer: Any, rows: Rows) -> tuple[jax.Array, Any]:
            weights, cache, drop, adapters = layer
            x, cache, routing, y = block.apply({"params": weights, **adapters}, x, rows, cache,
                                               drop)
            return x, (cache, routing, y if self.collect else None)

        if "0" in weights:
            adapters = self.get_variable(ADAPTERS, "blocks", {})
            x, cache, routing, ys = one_by_one(one, weights, x, rows, cache, drops, adapters)
            return x, cache, routing, None if ys is None else ys[-self.collect:]
        unrolled = is_unrolled(self.layers, self.depth, self.remat)
        one = rematerialised(one, self.remat, unrolled)

        def stack(weights: Any, x: jax.Array, rows: Rows, cache: Cache | None = None,
                  drops: Drop | None = None) -> tuple[jax.Array, Cache | None, Routing, Any]:
            x, (cache, routing, ys) = jax.lax.scan(
                lambda x, layer: one(x, layer, rows), x, (weights, cache, drops, {}),
                unroll=unrolled or 1)
            kept = None if ys is None else ys[-self.collect:]
            return x, cache, jax.tree.map(lambda s: s.sum(0), routing), kept

        # Decoding token by token has no microbatches to fill a pipeline with; what blocks keep, or
        # draw for a row of the whole batch, does not fit into one. They gather their weights.
        alone = cache is not None or drops is not None or self.collect
        if axis_size("stage") == 1 or alone:
            return stack(whole_along(weights, "stage"), x, rows, cache, drops)
        x, routing = pipeline(lambda w, x, rows: stack(w, x, rows)[::2], weights, x, rows,
                              microbatches=self.pipeline_microbatches,
                              repeats=self.pipeline_repeats)
        return x, None, routing, None


def one_by_one(block: Callable[..., tuple[jax.Array, Any]], weights: Any, x: jax.Array,
               rows: Rows, cache: Any, drops: Drop | None, adapters: Any,
               ) -> tuple[jax.Array, Any, Routing, jax.Array | None]:
    """Send x through blocks that have arrays of their own."""
    caches, routings, kept = {}, [], []
    for i in range(len(weights)):
        own = {ADAPTERS: of_rows(adapters[str(i)], rows["adapter"])} if adapters else {}
        layer = (weights[str(i)], cache and cache[str(i)],
                 jax.tree.map(lambda d, i=i: d[i], drops), own)
        x, (caches[str(i)], routing, y) = block(x, layer, rows)
        routings.append(routing)
        kept.append(y)
    routing = jax.tree.map(lambda *parts: sum(parts), *routings)
    ys = None if kept[0] is None else jnp.stack(kept)
    return x, caches if cache is not None else None, routing, ys


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
