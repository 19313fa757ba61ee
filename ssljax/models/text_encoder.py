"""Transformer that makes one vector of a text, as the text tower of CLIP.

Radford et al. 2021, https://arxiv.org/abs/2103.00020 (section 2.4), with rotary positions instead
of a learned table. Reads tokens int32 [B, L]: a text, its end token, and end tokens as padding.
Returns pooled [B, D], the output at the first end token, and sequence [B, L, D].
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, per_example, shard, take
from ssljax.core.types import Inputs, Key, Model, Outputs, Params, PyTree
from ssljax.nn.attention import Attention
from ssljax.nn.transformer import Layers, Remat, Transformer

TINY = {"vocab_size": 264, "end_of_text": 256, "width": 16, "depth": 1, "num_heads": 2}


class TextEncoder(nn.Module):
    """Embed, transform, take what stands at the end."""

    vocab_size: int
    end_of_text: int
    width: int
    causal: bool
    transformer: Mapping[str, object]

    @nn.compact
    def __call__(self, inputs: Inputs) -> Outputs:
        """Return pooled and sequence of inputs["tokens"] [B, L]."""
        tokens = shard(inputs["tokens"], BATCH, None)
        ended = tokens == self.end_of_text
        # A text that was cut has no end: its last token stands for it.
        end = jnp.where(ended.any(axis=1), jnp.argmax(ended, axis=1), tokens.shape[1] - 1)
        places = jnp.arange(tokens.shape[1])
        # Padding is a segment of its own, which the text does not see.
        segments = jnp.where(places <= end[:, None], 1, 2).astype(jnp.int32)
        positions = jnp.broadcast_to(places, tokens.shape)
        table = self.param("embedding", nn.initializers.normal(0.02), (self.vocab_size, self.width))
        x = take(table, tokens, out=(BATCH, None, None))
        rows = [shard(t, BATCH, "context") for t in (positions, segments)]
        encoder = Transformer(**self.transformer, causal=self.causal, name="encoder")
        x, *_ = encoder(shard(x, BATCH, "context", None), *rows)
        x = shard(x, BATCH, None, None)
        pooled = per_example(lambda row, place: row[place])(x, end)
        return {"pooled": pooled, "sequence": x, "stats": {}}


def make(*, vocab_size: int, end_of_text: int, width: int, depth: int, num_heads: int,
         mlp_dim: int = 0, causal: bool = True, rope_base: float = 10_000.0,
         attention: Attention = "auto", layers: Layers = "auto", remat: Remat = "none") -> Model:
    """Return the text encoder.

    Args:
        vocab_size: rows of the token table, V; a multiple of the mesh's tensor axis, at least the
            tokenizer's.
        end_of_text: the tokenizer's id of the end; 256 for bytes.
        width: D, a multiple of num_heads.
        depth: number of blocks.
        num_heads: H; the head width D / H must be even for RoPE.
        mlp_dim: hidden units F; 4 D unless told.
        causal: whether a token sees only those before it, as in CLIP; SigLIP's sees all.
        rope_base: longest wavelength of RoPE over 2 pi, in tokens.
        attention: the program that computes attention; see nn.attention.choose_attention.
        layers: one compiled block in a loop, or all unrolled; "auto" by depth and remat.
        remat: what the backward pass computes again; see nn.remat.

    Raises:
        ConfigError: dimensions do not divide, or the end is no row of the table.
    """
    if width % num_heads or (width // num_heads) % 2:
        raise ConfigError(f"text_encoder width {width} over {num_heads} heads is "
                          f"{width / num_heads:g} a head; RoPE needs an even whole number: change "
                          "width or num_heads.")
    if not 0 <= end_of_text < vocab_size:
        raise ConfigError(f"text_encoder end_of_text {end_of_text}: expected an id below "
                          f"vocab_size {vocab_size}; 256 for bytes.")
    net = TextEncoder(vocab_size, end_of_text, width, causal, {
        "depth": depth, "num_heads": num_heads, "mlp_dim": mlp_dim or 4 * width, "norm": "layer",
        "mlp": "gelu", "rope_base": rope_base, "attention": attention, "layers": layers,
        "remat": remat})

    def init(key: Key, inputs: Inputs) -> tuple[Params, PyTree]:
        return net.init(key, inputs)["params"], {}

    def apply(params: Params, inputs: Inputs, *, stats: PyTree = None, cache: PyTree = None,
              key: Key | None = None, train: bool = False) -> Outputs:
        del stats, cache, key, train
        return net.apply({"params": params}, inputs)

    return Model(init, apply)
