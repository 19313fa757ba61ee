"""Vision transformer, Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929.

Pre-norm blocks with LayerNorm; fixed 2-D sin-cos positions, rotary or learned ones. Reads image
f32 [B, H, W, C] of any size that patches tile, and optionally

    visible  i32 [B, K]   the only patches that are encoded (MAE)
    hidden   bool [B, N]  patches that a learned mask token replaces (SimMIM, iBOT)

and returns

    pooled    [B, D], or [B, 2D] with pool="class_mean"
    sequence  [B, T, D], class token (if any), registers, then the N (or K) patches
    patches   [B, N, D], and class [B, D] where there is a class token
    layers    [collect, B, N, D], what the last feed-forward layers add at patches (data2vec)
"""

from collections.abc import Mapping
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError, nearest
from ssljax.core.sharding import BATCH, axis_size, einsum, per_example, shard, take
from ssljax.core.types import Inputs, Key, Model, Outputs, Params, PyTree
from ssljax.nn.attention import Attention
from ssljax.nn.matmul import Matmul
from ssljax.nn.patches import patch_grid, patchify, rope_places, sincos_table
from ssljax.nn.transformer import Layers, Remat, Transformer

TINY = {"width": 16, "depth": 2, "num_heads": 2, "patch_size": 2, "image_size": 8, "channels": 1}

# Width, depth, heads of Table 2 of https://arxiv.org/abs/2106.04560; hidden units are 4 D. g is the
# one of DINOv2 (Table 17 of https://arxiv.org/abs/2304.07193), which has mlp="swiglu".
VARIANTS = {"Ti": (192, 12, 3), "S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16),
            "H": (1280, 32, 16), "g": (1536, 40, 24)}
ROPE_BASE = 100.0       # of DINOv3, whose images are 4 pi wide: half the pairs turn hardly at all
TOKEN = nn.initializers.normal(0.02)


class ViT(nn.Module):
    """Embed patches, add positions and tokens, transform, pool."""

    width: int
    patch_size: int
    grid: int
    pool: str
    class_token: bool
    registers: int
    mask_token: bool
    freeze_patch: bool
    positions: str
    transformer: Mapping[str, object]

    @nn.compact
    def __call__(self, inputs: Inputs, key: Key | None = None) -> Outputs:
        """Return the outputs of inputs["image"] [B, H, W, C]; `key` drops paths."""
        height, width = (side // self.patch_size for side in inputs["image"].shape[1:3])
        x, places = self.embed(inputs, (height, width))
        prefix = self.prefix(x)
        length = prefix.shape[1] + x.shape[1]
        x, segments = self.joined(prefix, x)
        if places is not None:
            ends = (prefix.shape[1], x.shape[1] - length)
            places = jnp.pad(places, ((0, 0), ends, (0, 0)))
        encoder = Transformer(**self.transformer, name="encoder")
        x, _, _, layers = encoder(x, places, segments, None, key)
        x = shard(x, BATCH, None, None)[:, :length]
        outputs = {**self.pooled(x, prefix.shape[1]), "sequence": x, "stats": {}}
        if layers is not None:
            layers = shard(layers, None, BATCH, None, None)
            outputs["layers"] = layers[:, :, prefix.shape[1]:length]
        return outputs

    def embed(self, inputs: Inputs, grid: tuple[int, int],
              ) -> tuple[jax.Array, jax.Array | None]:
        """Return patches [B, N, D] with their positions, or [B, N, 2] rotary ones beside them."""
        patches = patchify(shard(inputs["image"], BATCH, None, None, None), self.patch_size)
        w = self.param("w_patch", nn.initializers.lecun_normal(), (patches.shape[-1], self.width))
        b = self.param("b_patch", nn.initializers.zeros, (self.width,))
        if self.freeze_patch:
            w, b = jax.lax.stop_gradient((w, b))
        positions = self.places(grid, w.dtype)
        visible, hidden = inputs.get("visible"), inputs.get("hidden")
        if visible is not None:
            choose = per_example(lambda rows, ids: rows[ids])
            patches = choose(patches, visible)
            hidden = None if hidden is None else choose(hidden, visible)
            positions = take(positions, visible, out=(BATCH, None, None))
        x = einsum("BNP,PD->BND", patches.astype(w.dtype), w, out=(BATCH, None, None)) + b
        if self.mask_token or hidden is not None:
            token = self.param("mask_token", TOKEN, (1, self.width)).astype(x.dtype)
            x = x if hidden is None else jnp.where(hidden[..., None], token, x)
        if self.positions != "rope":
            return x + positions, None
        positions = jnp.broadcast_to(positions, (*x.shape[:2], 2))
        return x, shard(positions, BATCH, None, None)

    def places(self, grid: tuple[int, int], dtype: jax.typing.DTypeLike) -> jax.Array:
        """Return what is added to patches, [N, D], or rotary positions f32 [N, 2]."""
        if self.positions == "rope":
            return jnp.asarray(rope_places(grid))
        if self.positions == "sincos":
            return jnp.asarray(sincos_table(grid, self.width, native=self.grid), dtype)
        if grid != (self.grid, self.grid):
            raise ConfigError(f"vit has learned positions of {self.grid} x {self.grid} patches and "
                              f"reads {grid[0]} x {grid[1]}; keep images at image_size, or use "
                              'positions="sincos" or "rope", which any size has.')
        return self.param("position_table", TOKEN, (self.grid ** 2, self.width))

    def prefix(self, x: jax.Array) -> jax.Array:
        """Return the tokens that come before patches x, [B, 0 or 1 + registers, D]."""
        tokens = jnp.zeros((0, self.width), x.dtype)
        if self.class_token:
            tokens = self.param("class_token", TOKEN, (1, self.width)).astype(x.dtype)
        if self.registers:
            registers = self.param("register_tokens", TOKEN, (self.registers, self.width))
            tokens = jnp.concatenate([tokens, registers.astype(x.dtype)])
        return shard(jnp.broadcast_to(tokens, (x.shape[0], *tokens.shape)), BATCH, None, None)

    def joined(self, prefix: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Return tokens [B, T, D] that divide over the mesh, and which of them belong together.

        Where several devices share a sequence, it is filled up with tokens that no other sees.
        """
        parts = [prefix, x] if prefix.shape[1] else [x]
        length = prefix.shape[1] + x.shape[1]
        fill = -length % axis_size("context")
        if fill:
            zeros = jnp.zeros((x.shape[0], fill, self.width), x.dtype)
            parts.append(shard(zeros, BATCH, None, None))
        x = jnp.concatenate(parts, axis=1) if len(parts) > 1 else x
        segments = None
        if fill:
            segments = jnp.broadcast_to(jnp.arange(length + fill) < length, x.shape[:2])
            segments = shard(segments.astype(jnp.int32), BATCH, "context")
        return shard(x, BATCH, "context", None), segments

    def pooled(self, x: jax.Array, prefix: int) -> Outputs:
        """Return pooled, patches and, where there is one, class of a sequence x [B, T, D]."""
        patches = x[:, prefix:]
        outputs = {"patches": patches}
        if self.class_token:
            outputs["class"] = x[:, 0]
        mean = jnp.mean(patches, axis=1) if self.pool != "class" else None
        if self.pool == "class_mean":
            return {"pooled": jnp.concatenate([x[:, 0], mean], axis=-1), **outputs}
        return {"pooled": x[:, 0] if mean is None else mean, **outputs}


def make(*, image_size: int, channels: int = 3, variant: str = "", width: int = 0, depth: int = 0,
         num_heads: int = 0, patch_size: int = 0, mlp_dim: int = 0,
         mlp: Literal["gelu", "gelu_erf", "swiglu"] = "gelu",
         pool: Literal["mean", "class", "class_mean"] = "mean", class_token: bool = False,
         registers: int = 0, mask_token: bool = False,
         positions: Literal["sincos", "rope", "learned"] = "sincos", causal: bool = False,
         attention_bias: bool = False, norm_epsilon: float = 1e-6,
         layer_scale: float = 0.0, drop_path: float = 0.0, drop_path_uniform: bool = False,
         collect: int = 0, freeze_patch: bool = False, attention: Attention = "auto",
         layers: Layers = "auto", remat: Remat = "none", matmul: Matmul = "full",
         pipeline_microbatches: int = 0, pipeline_repeats: int = 1) -> Model:
    """Return the vision transformer, by variant such as "S/16" or by its dimensions.

    Args:
        image_size: height and width in pixels that positions are made for, a multiple of the
            patch size. Images of other sizes span the same positions, as if they were resized.
        channels: C.
        variant: Ti, S, B, L, H or g, a slash and the patch size; sets the four dimensions below, of
            which those that are told as well win.
        width: D, a multiple of num_heads and of 4.
        depth: number of blocks.
        num_heads: H.
        patch_size: side of a patch in pixels.
        mlp_dim: hidden units F; 4 D unless told, or 8/3 D for swiglu, which has three matrices.
        mlp: the feed-forward layer; gelu is computed by tanh, gelu_erf exactly.
        pool: the mean over patches, the class token, or both one after the other.
        class_token: whether there is one where pool is "mean" too.
        registers: tokens that nothing reads; Darcet et al. 2023, https://arxiv.org/abs/2309.16588.
        mask_token: whether to declare it where `init` does not see `hidden`.
        positions: sin-cos added to patches, a learned table in their place, which other sizes than
            image_size do not have, or axial rotary positions in every block.
        causal: whether a token sees itself and earlier ones only.
        attention_bias: whether attention's four products have biases, as released ViTs do.
        norm_epsilon: what norms add to the variance.
        layer_scale: where the learned scale of every branch starts; 0 has none.
        drop_path: rate of stochastic depth of the last block, in training; it grows to it from 0
            at the first.
        drop_path_uniform: whether all blocks have this rate, as DINOv2's do.
        collect: of how many last blocks to return `layers`.
        freeze_patch: keep the random projection of patches (MoCo v3); it gets no gradient. So that
            weight decay leaves it too, freeze it: optim.groups.stem = {match: ".*[wb]_patch",
            freeze: true}.
        attention: the program that computes attention; see nn.attention.choose_attention.
        layers: one compiled block in a loop, or all unrolled; "auto" by depth and remat.
        remat: what the backward pass computes again; see nn.remat.
        matmul: "fp8" rounds the operands of products in blocks to eight bits; see nn.matmul.
        pipeline_microbatches: parts of a batch that are under way at once on a mesh with several
            stages; 0 is as many as stages, more leave less idle.
        pipeline_repeats: groups of layers that each stage holds; more leave less idle.

    Raises:
        ConfigError: unknown variant, a dimension neither told nor in a variant, dimensions that do
            not divide, or a rate or count that is out of range.
    """
    width, depth, num_heads, patch_size = dimensions(variant, width, depth, num_heads, patch_size)
    check_options(depth, width // num_heads, positions, drop_path, collect, registers)
    net = ViT(width, patch_size, patch_grid(image_size, patch_size), pool,
              class_token or pool != "mean", registers, mask_token, freeze_patch,
              positions, {
        "depth": depth, "num_heads": num_heads, "mlp_dim": mlp_dim or hidden_units(width, mlp),
        "norm": "layer", "mlp": mlp, "rope_base": ROPE_BASE if positions == "rope" else None,
        "causal": causal, "layer_scale": layer_scale, "drop_path": drop_path,
        "drop_path_uniform": drop_path_uniform, "collect": collect,
        "attention": attention, "layers": layers, "remat": remat, "matmul": matmul,
        "pipeline_microbatches": pipeline_microbatches, "pipeline_repeats": pipeline_repeats,
        "attention_bias": attention_bias, "norm_epsilon": norm_epsilon})

    def check(inputs: Inputs) -> None:
        shape = inputs["image"].shape[1:]
        if len(shape) != 3 or shape[2] != channels or any(s % patch_size for s in shape[:2]):
            raise ConfigError(f"vit reads images of {channels} channels whose sides are multiples "
                              f"of {patch_size} but got {shape}; set channels, patch_size or "
                              "image_size of the model to those of the pretext.")

    def init(key: Key, inputs: Inputs) -> tuple[Params, PyTree]:
        check(inputs)
        return net.init(key, inputs)["params"], {}

    def apply(params: Params, inputs: Inputs, *, stats: PyTree = None, cache: PyTree = None,
              key: Key | None = None, train: bool = False) -> Outputs:
        del stats, cache
        check(inputs)
        if train and drop_path and key is None:
            raise ConfigError(f"drop_path = {drop_path} needs a key where train is True; pass "
                              "key= to apply.")
        return net.apply({"params": params}, inputs, key if train else None)

    return Model(init, apply)


def hidden_units(width: int, mlp: str) -> int:
    """Return F: 4 D, or 8/3 D up to a multiple of 8 for swiglu, whose three matrices are as big."""
    return 4 * width if mlp != "swiglu" else -(-8 * width // 24) * 8


def check_options(depth: int, head_width: int, positions: str, drop_path: float, collect: int,
                  registers: int) -> None:
    """Raise ConfigError where an option of `make` is out of its range."""
    if positions == "rope" and head_width % 4:
        raise ConfigError(f"vit heads are {head_width} wide; rope of two axes needs a multiple of "
                          "4: change width or num_heads.")
    if not 0 <= drop_path < 1:
        raise ConfigError(f"drop_path = {drop_path} is not a rate; use 0 to less than 1.")
    if not 0 <= collect <= depth or registers < 0:
        raise ConfigError(f"collect = {collect} and registers = {registers} of a network of "
                          f"{depth} blocks; use 0 to {depth} and 0 or more.")


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
