"""A GPT on pixels: a decoder of palette colours that also encodes images.

Chen et al. 2020, "Generative pretraining from pixels" (section 3.4),
https://cdn.openai.com/papers/Generative_Pretraining_from_Pixels_V2.pdf: the middle of the network
knows most about the whole image, its end about the next pixel. Reads tokens (and positions) i32
[B, L] as models.gpt does, and returns what it returns. Given image f32 [B, H, W, C] in [-1, 1]
instead it quantises it and returns pooled [B, D] and sequence [B, L, D]: the input of block
`pool_layer` after that block's first norm, averaged over all pixels.
"""

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, reshape, shard, whole_along
from ssljax.core.types import Inputs, Key, Model, Outputs, Params, PyTree
from ssljax.models import gpt
from ssljax.nn.attention import Attention
from ssljax.nn.matmul import Matmul
from ssljax.nn.palette import make_palette, to_tokens
from ssljax.nn.transformer import Layers, Remat

TINY = {"image_size": 8, "channels": 1, "levels": 4, "width": 32, "depth": 2, "num_heads": 4}
VOCABULARY_MULTIPLE = 8         # rows of the table that no colour uses let it divide over devices


def make(*, image_size: int, width: int, depth: int, num_heads: int, channels: int = 3,
         levels: int = 8, palette: str = "", pool_layer: int = 0, mlp_dim: int | None = None,
         attention: Attention = "auto", layers: Layers = "auto", remat: Remat = "none",
         matmul: Matmul = "full", pipeline_microbatches: int = 0,
         pipeline_repeats: int = 1) -> Model:
    """Return the network.

    Args:
        image_size: height and width in pixels, the pretext's.
        width: D, a multiple of num_heads.
        depth: number of blocks, at least two.
        num_heads: H.
        channels: C.
        levels: of each channel in a uniform palette, the pretext's.
        palette: JSON file of a fitted palette, the pretext's.
        pool_layer: the block whose normalised input is the encoding; the middle one unless told.
        mlp_dim: hidden units F; as models.gpt unless told.
        attention: the program that computes attention; see nn.attention.choose_attention.
        layers: one compiled block in a loop, or all unrolled; "auto" by depth and remat.
        remat: what the backward pass computes again; see nn.remat.
        matmul: "fp8" rounds the operands of products in blocks to eight bits; see nn.matmul.
        pipeline_microbatches: see models.gpt.
        pipeline_repeats: see models.gpt.

    Raises:
        ConfigError: there is no such block.
    """
    colours = make_palette(levels, palette, channels)
    start, pool_layer = len(colours.colours), pool_layer or depth // 2
    if not 0 < pool_layer < depth:
        raise ConfigError(f"pixel_gpt pool_layer {pool_layer} of depth {depth}: expected 1 to "
                          f"{depth - 1}.")
    vocab_size = -(-(start + 1) // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
    whole, front = (gpt.make(
        vocab_size=vocab_size, width=width, depth=blocks, num_heads=num_heads, mlp_dim=mlp_dim,
        attention=attention, layers=layers, remat=remat, matmul=matmul,
        pipeline_microbatches=pipeline_microbatches, pipeline_repeats=pipeline_repeats)
        for blocks in (depth, pool_layer))

    def tokens_of(image: jax.Array) -> Inputs:
        if image.shape[1:] != (image_size, image_size, channels):
            raise ConfigError(f"pixel_gpt reads images of shape {image_size, image_size, channels} "
                              f"but got {image.shape[1:]}; set image_size and channels of the "
                              "model to those of the pretext.")
        image = shard(image, BATCH, None, None, None)
        tokens = reshape(to_tokens((image + 1) / 2, colours), (image.shape[0], image_size**2),
                         (BATCH, None))
        shifted = jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=start)
        return {"tokens": shifted}

    def init(key: Key, inputs: Inputs) -> tuple[Params, PyTree]:
        return whole.init(key, tokens_of(inputs["image"]) if "image" in inputs else inputs)

    def apply(params: Params, inputs: Inputs, *, stats: PyTree = None, cache: PyTree = None,
              key: Key | None = None, train: bool = False) -> Outputs:
        if "image" not in inputs:
            return whole.apply(params, inputs, stats=stats, cache=cache, key=key, train=train)
        # Training's outputs: the logits of a network that was cut off would mean nothing.
        sequence = front.apply(cut(params, pool_layer), tokens_of(inputs["image"]),
                               train=True)["sequence"]
        sequence = shard(sequence, BATCH, None, None)
        return {"pooled": jnp.mean(sequence.astype(jnp.float32), axis=1), "sequence": sequence,
                "stats": {}}

    return Model(init, apply, whole.init_cache)


def cut(params: Params, depth: int) -> Params:
    """Return the weights of the first `depth` blocks, the next one's first norm behind them."""
    decoder = params["decoder"]
    blocks = whole_along(decoder["blocks"], "stage")
    front = jax.tree.map(lambda w: w[:depth], blocks)
    norm = jax.tree.map(lambda w: w[depth], blocks["norm_attention"])
    return {**params, "decoder": {**decoder, "blocks": front, "norm": norm}}
