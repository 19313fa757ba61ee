"""The light decoder of masked autoencoders, He et al. 2022, https://arxiv.org/abs/2111.06377.

Reads sequence [B, K or 1 + K, E], an encoder's tokens of the visible patches (perhaps behind a
class token), and visible i32 [B, K], where those patches belong. Returns pixels [B, N, P], a
prediction for every patch, P = patch_size**2 * C values row-major with channels last. As in the
released code both linear maps start from Xavier's uniform distribution and the mask token from
N(0, 0.02).
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, Axes, per_example, shard
from ssljax.core.types import Inputs, Key, Model, Outputs, Params, PyTree
from ssljax.nn.attention import Attention
from ssljax.nn.linear import linear
from ssljax.nn.matmul import Matmul
from ssljax.nn.patches import patch_grid, sincos_table
from ssljax.nn.transformer import Layers, Remat, Transformer

TINY = {"width": 16, "depth": 2, "num_heads": 2, "patch_size": 2, "image_size": 8, "channels": 1}
PARTITION: dict[str, tuple[Axes, ...]] = {
    "w_decoder_in": ("fsdp", None),       # [E, D]
    "w_pixels": ("fsdp", None),           # [D, P]
    "b_decoder_in": (None,), "b_pixels": (None,),
}


def unshuffle(tokens: jax.Array, visible: jax.Array, num_patches: int,
              ) -> tuple[jax.Array, jax.Array]:
    """Put one image's tokens [K, D] back at indices `visible` [K] among `num_patches`.

    Returns:
        [N, D] with zeros where nothing was visible, and bool [N], where something was.
    """
    rows = jnp.zeros((num_patches, tokens.shape[-1]), tokens.dtype).at[visible].set(tokens)
    return rows, jnp.zeros(num_patches, bool).at[visible].set(True)


class Decoder(nn.Module):
    """Fill the gaps with one learned token, add positions, transform, project to pixels."""

    width: int
    grid: int
    patch_values: int
    transformer: Mapping[str, object]

    @nn.compact
    def __call__(self, inputs: Inputs) -> Outputs:
        """Return pixels [B, N, P] of inputs["sequence"] and inputs["visible"]."""
        sequence, visible = (inputs[n] for n in ("sequence", "visible"))
        x = linear(self, "decoder_in", shard(sequence, BATCH, None, None), self.width)
        prefix = x.shape[1] - visible.shape[1]                    # class token, if any
        rows, seen = per_example(lambda x, ids: unshuffle(x, ids, self.grid**2))(
            x[:, prefix:], visible)
        mask_token = self.param("mask_token", nn.initializers.normal(0.02), (1, self.width))
        rows = jnp.where(seen[..., None], rows, mask_token.astype(x.dtype))
        rows += jnp.asarray(sincos_table(self.grid, self.width), x.dtype)
        x = jnp.concatenate([x[:, :prefix], rows], axis=1)
        x, *_ = Transformer(**self.transformer, name="decoder")(shard(x, BATCH, "context", None))
        x = shard(x, BATCH, None, None)[:, prefix:]
        return {"pixels": linear(self, "pixels", x, self.patch_values), "stats": {}}


def make(*, width: int, depth: int, num_heads: int, patch_size: int, image_size: int,
         channels: int = 3, mlp_dim: int = 0, attention: Attention = "auto",
         layers: Layers = "auto", remat: Remat = "none", matmul: Matmul = "full",
         pipeline_microbatches: int = 0,
         pipeline_repeats: int = 1) -> Model:
    """Return the decoder; 512 wide and 8 deep serves ViT-B and ViT-L in the paper.

    Args:
        width: D, a multiple of num_heads and of 4; need not be the encoder's.
        depth: number of blocks.
        num_heads: H.
        patch_size: side of a patch in pixels, the encoder's.
        image_size: height and width in pixels, the encoder's.
        channels: C.
        mlp_dim: hidden units F; 4 D unless told.
        attention: the program that computes attention; see nn.attention.choose_attention.
        layers: one compiled block in a loop, or all unrolled; "auto" by depth and remat.
        remat: what the backward pass computes again; see nn.remat.
        matmul: "fp8" rounds the operands of products in blocks to eight bits; see nn.matmul.
        pipeline_microbatches: parts of a batch that are under way at once on a mesh with several
            stages; 0 is as many as stages, more leave less idle.
        pipeline_repeats: groups of layers that each stage holds; more leave less idle.
    """
    if width % num_heads:
        raise ConfigError(f"vit_decoder width {width} is not a multiple of its {num_heads} heads; "
                          "change width or num_heads.")
    net = Decoder(width, patch_grid(image_size, patch_size), patch_size**2 * channels, {
        "depth": depth, "num_heads": num_heads, "mlp_dim": mlp_dim or 4 * width, "norm": "layer",
        "mlp": "gelu", "attention": attention, "layers": layers, "remat": remat, "matmul": matmul,
        "pipeline_microbatches": pipeline_microbatches, "pipeline_repeats": pipeline_repeats})

    def init(key: Key, inputs: Inputs) -> tuple[Params, PyTree]:
        return net.init(key, inputs)["params"], {}

    def apply(params: Params, inputs: Inputs, *, stats: PyTree = None, cache: PyTree = None,
              key: Key | None = None, train: bool = False) -> Outputs:
        del stats, cache, key, train
        return net.apply({"params": params}, inputs)

    return Model(init, apply)
