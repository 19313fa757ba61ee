"""Decoder-only language model: pre-norm, RoPE, RMSNorm, SwiGLU, tied embeddings.

The block of Llama (Touvron et al. 2023, https://arxiv.org/abs/2302.13971) with the tied table of
GPT-2, and by options the rest of GPT-2 (LayerNorm, GELU, biases, learned positions). Reads tokens
i32 [B, L], and optionally positions and segment_ids i32 [B, L] of packed documents; returns
sequence [B, L, D] and logits f32 [B, L, V] (training: the table [V, D] in their place), and with a
cache the new cache (in pages where `table` i32 [B, N] is given, nn/paged.py). With `last` i32 [B]
logits are only those at that place of each row, [B, 1, V]. With `adapters`, stacks of them for
blocks that are given one by one, and `adapter` i32 [B], the place of each row's own, every row is
adapted (nn/low_rank.py). With experts it is a mixture of experts
(nn/moe.py): losses "balance" and "z", and the router's metrics.
"""

from collections.abc import Mapping
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, shard, take
from ssljax.core.types import Inputs, Key, Model, Outputs, Params, PyTree
from ssljax.nn.attention import Attention
from ssljax.nn.low_rank import ADAPTERS
from ssljax.nn.matmul import Matmul, project
from ssljax.nn.transformer import (
    Layers,
    Remat,
    Transformer,
    routing_losses,
    routing_metrics,
)

TINY = {"vocab_size": 64, "width": 32, "depth": 2, "num_heads": 4}
# muP: attention logits are divided by K instead of sqrt(K), equal where heads are this wide.
MUP_HEAD_WIDTH = 64
# muP: the weights whose rows and columns both grow with the width.
MUP_HIDDEN = r"w_(qkv|out|gate|up|down)"


class GPT(nn.Module):
    """Embed, transform, project onto the same table."""

    vocab_size: int
    width: int
    logit_scale: float
    table_rows: int        # of learned positions; 0 has none
    tied: bool
    transformer: Mapping[str, object]

    @nn.compact
    def __call__(self, inputs: Inputs, cache: PyTree | None, train: bool = False) -> Outputs:
        """Return sequence, cache, and logits (training: the table) of inputs["tokens"] [B, L]."""
        last, adapter = inputs.get("last"), inputs.get("adapter")
        inputs = {n: shard(x, BATCH, "context") for n, x in inputs.items()
                  if n not in ("last", "adapter")}
        tokens = inputs["tokens"]
        positions = inputs.get("positions")
        if positions is None:
            positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        table = self.param("embedding", nn.initializers.normal(0.02), (self.vocab_size, self.width))
        x = take(table, tokens, out=(BATCH, "context", None))
        if self.table_rows:
            places = self.param("position_table", nn.initializers.normal(0.02),
                                (self.table_rows, self.width))
            x += take(places, positions, out=(BATCH, "context", None))
        decoder = Transformer(**self.transformer, causal=True, name="decoder")
        x, cache, routing, _ = decoder(x, positions, inputs.get("segment_ids"), cache,
                                       table=inputs.get("table"), adapter=adapter)
        outputs = {"sequence": x, "cache": cache, "stats": {},
                   "losses": routing_losses(routing, decoder.depth),
                   "metrics": routing_metrics(routing)}
        if not self.tied:
            table = self.param("w_vocab", nn.initializers.normal(0.02),
                               (self.vocab_size, self.width))
        head = table * self.logit_scale if self.logit_scale != 1 else table
        if train:
            return {"table": head, **outputs}
        if last is not None:
            x = jnp.take_along_axis(x, last[:, None, None], axis=1)
        logits = project("BLD,VD->BLV", x, head, out=(BATCH, "context", "tensor"))
        return {"logits": logits.astype(jnp.float32), **outputs}


def make(*, vocab_size: int, width: int, depth: int, num_heads: int, mlp_dim: int | None = None,
         rope_base: float = 10_000.0, attention: Attention = "auto", layers: Layers = "auto",
         remat: Remat = "none", matmul: Matmul = "full",
         experts: int = 0, experts_per_token: int = 2,
         pipeline_microbatches: int = 0, pipeline_repeats: int = 1,
         mup_base_width: int = 0, positions: Literal["rope", "learned"] = "rope",
         context: int = 0, norm: Literal["rms", "layer"] = "rms", norm_epsilon: float = 1e-6,
         mlp: Literal["swiglu", "gelu", "gelu_erf"] = "swiglu", attention_bias: bool = False,
         tied: bool = True) -> Model:
    """Return the language model.

    Args:
        vocab_size: rows of the token table, V; a multiple of the mesh's tensor axis.
        width: D, a multiple of num_heads.
        depth: number of blocks.
        num_heads: H; the head width D / H must be even for RoPE.
        mlp_dim: hidden units F; 4 D for gelu, else 8/3 of the width rounded up to a multiple of 64
            unless told, which gives SwiGLU's three matrices the size of GELU's two.
        rope_base: longest wavelength of RoPE over 2 pi, in tokens.
        attention: the program that computes attention; see nn.attention.choose_attention.
        layers: one compiled block in a loop, or all unrolled; "auto" by depth and remat.
        remat: what the backward pass computes again; see nn.remat.
        matmul: "fp8" rounds the operands of products in blocks to eight bits; see nn.matmul.
        experts: feed-forward layers of `mlp_dim` in every block, of which a router gives each
            token some; 0 has one for all tokens. A multiple of the mesh's expert axis.
        experts_per_token: how many.
        pipeline_microbatches: parts of a batch that are under way at once on a mesh with several
            stages; 0 is as many as stages, more leave less idle.
        pipeline_repeats: groups of layers that each stage holds; more leave less idle.
        mup_base_width: the width at which the learning rate was tuned: table 8 of Yang et al.
            2022, https://arxiv.org/abs/2203.03466, carries it to this width, for adamw, lion and
            schedule_free. Hidden weights start at a variance of 1 / fan-in as ever and learn at
            base / width times the rate; the tied table keeps its rate and its variance, and logits
            are base / width times the product; attention logits are q k 8 / K. 0 leaves all that.
        positions: rotary ones, or a learned table added to tokens as in GPT-2.
        context: rows of that table, the longest row of tokens.
        norm: RMSNorm, or LayerNorm with its biases.
        norm_epsilon: what norms add to the variance.
        mlp: the feed-forward layer; gelu is computed by tanh as in GPT-2, gelu_erf exactly, both
            with biases. Experts are SwiGLU.
        attention_bias: whether attention's four products have biases.
        tied: whether logits are products with the table of tokens, or with one of their own.

    Raises:
        ConfigError: dimensions that do not divide, or options that exclude each other.
    """
    if experts and not 0 < experts_per_token <= experts:
        raise ConfigError(f"experts_per_token = {experts_per_token} of {experts} experts; use 1 to "
                          f"{experts}.")
    if width % num_heads or positions == "rope" and (width // num_heads) % 2:
        raise ConfigError(f"model width {width} over {num_heads} heads is {width / num_heads:g} a "
                          "head; it takes a whole number, and RoPE an even one: change width or "
                          "num_heads.")
    check_options(positions, context, mlp, experts=experts, tied=tied, mup=mup_base_width)
    if mup_base_width < 0 or mup_base_width and experts:
        raise ConfigError(f"mup_base_width = {mup_base_width} with {experts} experts; expected a "
                          "width, or 0, and muP is derived for networks without experts.")
    mlp_dim = mlp_dim or (-(-8 * width // (3 * 64)) * 64 if mlp == "swiglu" else 4 * width)
    ratio = mup_base_width / width if mup_base_width else 1.0
    query_scale = (MUP_HEAD_WIDTH * num_heads / width) ** 0.5 if mup_base_width else 1.0
    net = GPT(vocab_size, width, ratio, context, tied, dict(
        depth=depth, num_heads=num_heads, mlp_dim=mlp_dim, norm=norm, norm_epsilon=norm_epsilon,
        mlp=mlp, attention_bias=attention_bias,
        rope_base=rope_base if positions == "rope" else None,
        attention=attention, layers=layers, remat=remat, matmul=matmul, experts=experts,
        experts_per_token=experts_per_token, query_scale=query_scale,
        pipeline_microbatches=pipeline_microbatches, pipeline_repeats=pipeline_repeats))

    def init(key: Key, inputs: Inputs) -> tuple[Params, PyTree]:
        return net.init(key, inputs, None)["params"], {}

    def apply(params: Params, inputs: Inputs, *, stats: PyTree = None, cache: PyTree = None,
              key: Key | None = None, train: bool = False) -> Outputs:
        del stats, key
        length = inputs["tokens"].shape[1]
        if context and isinstance(length, int) and length > context:      # a gather would clamp
            raise ConfigError(f"gpt has learned positions of {context} tokens and reads {length}; "
                              "raise its context, or use positions=\"rope\".")
        given = {name: inputs[name] for name in (ADAPTERS,) if name in inputs}
        inputs = {name: x for name, x in inputs.items() if name not in given}
        return net.apply({"params": params, **given}, inputs, cache, train)

    def init_cache(params: Params, batch: int, length: int) -> PyTree:
        shape = (depth, batch, length, num_heads, width // num_heads)
        return {name: jnp.zeros(shape, params["embedding"].dtype) for name in ("k", "v")}

    return Model(init, apply, init_cache, {MUP_HIDDEN: ratio} if mup_base_width else None)


def check_options(positions: str, context: int, mlp: str, *, experts: int, tied: bool,
                  mup: int) -> None:
    """Raise ConfigError where options of `make` exclude each other."""
    if (positions == "learned") != (context > 0):
        raise ConfigError(f'gpt positions "{positions}" with context = {context}; learned ones '
                          "need the rows of their table, and others have none.")
    if experts and mlp != "swiglu":
        raise ConfigError(f'gpt mlp "{mlp}" with {experts} experts, which are SwiGLU; leave mlp '
                          "out.")
    if mup and not tied:
        raise ConfigError(f"mup_base_width = {mup} with tied = False; the rates are derived for "
                          "tied tables.")
