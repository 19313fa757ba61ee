"""Vision transformer, Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929.

Pre-norm blocks with LayerNorm and GELU, fixed 2-D sin-cos positions. Reads image f32 [B, H, W, C]
and optionally visible i32 [B, K], the indices of the only patches that are encoded (MAE). Returns
pooled [B, D] and sequence [B, N or K, D]; with pool="class" the class token is first in sequence.
"""

from collections.abc import Mapping
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp

from ssljax.core.errors import ConfigError, nearest
from ssljax.core.sharding import BATCH, einsum, per_example, shard, take
from ssljax.core.types import Inputs, Key, Model, Outputs, Params, PyTree
from ssljax.nn.attention import Attention
from ssljax.nn.matmul import Matmul
from ssljax.nn.patches import patch_grid, patchify, sincos_table
from ssljax.nn.transformer import Layers, Remat, Transformer

TINY = {"width": 16, "depth": 2, "num_heads": 2, "patch_size": 2, "image_size": 8, "channels": 1}

# Width, depth, heads of Table 2 of https://arxiv.org/abs/2106.04560; hidden units are 4 D.
VARIANTS = {"Ti": (192, 12, 3), "S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16)}


class ViT(nn.Module):
    """Embed patches, add positions, transform, pool."""

    width: int
    patch_size: int
    grid: int
    pool: str
    transformer: Mapping[str, object]

    @nn.compact
    def __call__(self, inputs: Inputs) -> Outputs:
        """Return pooled and sequence of inputs["image"] [B, H, W, C]."""
        patches = patchify(shard(inputs["image"], BATCH, None, None, None), self.patch_size)
        positions = jnp.asarray(sincos_table(self.grid, self.width), patches.dtype)     # [N, D]
        visible = inputs.get("visible")
        if visible is not None:
            patches = per_example(lambda rows, ids: rows[ids])(patches, visible)
            positions = take(positions, visible, out=(BATCH, None, None))
        w_patch = self.param("w_patch", nn.initializers.lecun_normal(),
                             (patches.shape[-1], self.width))
        b_patch = self.param("b_patch", nn.initializers.zeros, (self.width,))
        patches, positions = (t.astype(w_patch.dtype) for t in (patches, positions))
        x = einsum("BNP,PD->BND", patches, w_patch, out=(BATCH, None, None)) + b_patch + positions
        if self.pool == "class":
            token = self.param("class_token", nn.initializers.normal(0.02), (1, self.width))
            tokens = jnp.broadcast_to(token, (x.shape[0], 1, self.width)).astype(x.dtype)
            x = jnp.concatenate([shard(tokens, BATCH, None, None), x], axis=1)
        x, _, _ = Transformer(**self.transformer, name="encoder")(shard(x, BATCH, "context", None))
        x = shard(x, BATCH, None, None)
        pooled = x[:, 0] if self.pool == "class" else jnp.mean(x, axis=1)
        return {"pooled": pooled, "sequence": x, "stats": {}}


def make(*, image_size: int, channels: int = 3, variant: str = "", width: int = 0, depth: int = 0,
         num_heads: int = 0, patch_size: int = 0, mlp_dim: int = 0,
         pool: Literal["mean", "class"] = "mean", attention: Attention = "auto",
         layers: Layers = "auto", remat: Remat = "none", matmul: Matmul = "full",
         pipeline_microbatches: int = 0,
         pipeline_repeats: int = 1) -> Model:
    """Return the vision transformer, by variant such as "S/16" or by its dimensions.

    Args:
        image_size: height and width in pixels, a multiple of the patch size.
        channels: C.
        variant: Ti, S, B or L, a slash and the patch size; sets the four dimensions below, of
            which those that are told as well win.
        width: D, a multiple of num_heads and of 4.
        depth: number of blocks.
        num_heads: H.
        patch_size: side of a patch in pixels.
        mlp_dim: hidden units F; 4 D unless told.
        pool: the mean over patches, or a class token.
        attention: the program that computes attention; see nn.attention.choose_attention.
        layers: one compiled block in a loop, or all unrolled; "auto" by depth and remat.
        remat: what the backward pass computes again; see nn.remat.
        matmul: "fp8" rounds the operands of products in blocks to eight bits; see nn.matmul.
        pipeline_microbatches: parts of a batch that are under way at once on a mesh with several
            stages; 0 is as many as stages, more leave less idle.
        pipeline_repeats: groups of layers that each stage holds; more leave less idle.

    Raises:
        ConfigError: unknown variant, a dimension neither told nor in a variant, or dimensions
            that do not divide.
    """
    width, depth, num_heads, patch_size = dimensions(variant, width, depth, num_heads, patch_size)
    net = ViT(width, patch_size, patch_grid(image_size, patch_size), pool, {
        "depth": depth, "num_heads": num_heads, "mlp_dim": mlp_dim or 4 * width, "norm": "layer",
        "mlp": "gelu", "attention": attention, "layers": layers, "remat": remat, "matmul": matmul,
        "pipeline_microbatches": pipeline_microbatches, "pipeline_repeats": pipeline_repeats})
    expected = (image_size, image_size, channels)

    def check(inputs: Inputs) -> None:
        if inputs["image"].shape[1:] != expected:
            raise ConfigError(f"vit reads images of shape {expected} but got "
                              f"{inputs['image'].shape[1:]}; set image_size and channels of the "
                              "model to those of the pretext.")

    def init(key: Key, inputs: Inputs) -> tuple[Params, PyTree]:
        check(inputs)
        return net.init(key, inputs)["params"], {}

    def apply(params: Params, inputs: Inputs, *, stats: PyTree = None, cache: PyTree = None,
              key: Key | None = None, train: bool = False) -> Outputs:
        del stats, cache, key, train
        check(inputs)
        return net.apply({"params": params}, inputs)

    return Model(init, apply)


def dimensions(variant: str, *told: int) -> tuple[int, ...]:
    """Return width, depth, num_heads and patch_size: those told, else those of the variant."""
    size, _, patch = variant.partition("/")
    if variant and size not in VARIANTS:
        raise ConfigError(f'vit has no variant "{size}"; {nearest(size, VARIANTS)}')
    if variant and not patch.isdecimal():
        raise ConfigError(f'vit variant "{variant}" has no patch size; write for example '
                          f'"{size}/16".')
    default = (*VARIANTS[size], int(patch)) if variant else (0, 0, 0, 0)
    chosen = tuple(t or d for t, d in zip(told, default, strict=True))
    if not all(n > 0 for n in chosen):
        names = ("width", "depth", "num_heads", "patch_size")
        missing = [n for n, value in zip(names, chosen, strict=True) if value <= 0]
        raise ConfigError(f'vit needs {", ".join(missing)}, or a variant such as "S/16".')
    if chosen[0] % chosen[2]:
        raise ConfigError(f"vit width {chosen[0]} is not a multiple of its {chosen[2]} heads; "
                          "change width or num_heads.")
    return chosen
