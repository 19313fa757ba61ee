"""The narrow transformer that predicts features of hidden blocks from those of a context (I-JEPA).

Assran et al. 2023, https://arxiv.org/abs/2301.08243 (section 3). Reads sequence [B, K, E], an
encoder's features of the context patches, visible i32 [B, K], where those are, and targets
i32 [B, M, T], the patches of M blocks. Returns predictions [B, M, T, E]: every block by itself,
from the context and one learned token at each of its places, so blocks do not see each other.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, Axes, reshape, shard, take
from ssljax.core.types import Inputs, Key, Model, Outputs, Params, PyTree
from ssljax.nn.attention import Attention
from ssljax.nn.linear import linear
from ssljax.nn.matmul import Matmul
from ssljax.nn.patches import patch_grid, sincos_table
from ssljax.nn.transformer import Layers, Remat, Transformer

TINY = {"width": 16, "depth": 1, "num_heads": 2, "patch_size": 2, "image_size": 8}
PARTITION: dict[str, tuple[Axes, ...]] = {
    "w_predictor_in": ("fsdp", None),     # [E, D]
    "w_predictor_out": (None, "fsdp"),    # [D, E]
    "b_predictor_in": (None,), "b_predictor_out": (None,),
}
ROWS = (BATCH, None, None)


class Predictor(nn.Module):
    """Narrow the context, put mask tokens at the targets, transform, widen."""

    width: int
    grid: int
    transformer: Mapping[str, object]

    @nn.compact
    def __call__(self, inputs: Inputs) -> Outputs:
        """Return predictions [B, M, T, E] of inputs["targets"] [B, M, T]."""
        sequence, visible, targets = (inputs[n] for n in ("sequence", "visible", "targets"))
        rows, known, width = sequence.shape
        blocks, asked = targets.shape[1:]
        x = linear(self, "predictor_in", shard(sequence, *ROWS), self.width)
        table = jnp.asarray(sincos_table(self.grid, self.width), x.dtype)
        x += take(table, visible, out=ROWS)
        token = self.param("mask_token", nn.initializers.normal(0.02), (1, self.width))
        masks = token.astype(x.dtype) + take(table, targets, out=(*ROWS, None))
        context = jnp.broadcast_to(x[:, None], (rows, blocks, known, self.width))
        both = jnp.concatenate([shard(context, *ROWS, None), shard(masks, *ROWS, None)], axis=2)
        # Blocks become rows of the batch: attention then cannot reach from one to another.
        both = reshape(both, (rows * blocks, known + asked, self.width), ROWS)
        y, *_ = Transformer(**self.transformer, name="predictor")(
            shard(both, BATCH, "context", None))
        y = linear(self, "predictor_out", shard(y, *ROWS)[:, known:], width)
        return {"predictions": reshape(y, (rows, blocks, asked, width), (*ROWS, None)),
                "stats": {}}


def make(*, width: int, depth: int, num_heads: int, patch_size: int, image_size: int,
         mlp_dim: int = 0, attention: Attention = "auto", layers: Layers = "auto",
         remat: Remat = "none", matmul: Matmul = "full", pipeline_microbatches: int = 0,
         pipeline_repeats: int = 1) -> Model:
    """Return the predictor; the paper's is 384 wide, and 6 deep for ViT-B, 12 for larger ones.

    Args:
        width: D, a multiple of num_heads and of 4; less than the encoder's.
        depth: number of blocks.
        num_heads: H.
        patch_size: side of a patch in pixels, the encoder's.
        image_size: height and width in pixels, the encoder's.
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
        raise ConfigError(f"vit_predictor width {width} is not a multiple of its {num_heads} "
                          "heads; change width or num_heads.")
    net = Predictor(width, patch_grid(image_size, patch_size), {
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
