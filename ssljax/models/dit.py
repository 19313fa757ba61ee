"""Diffusion transformer, Peebles and Xie 2023, https://arxiv.org/abs/2212.09748, with adaLN-Zero.

Reads image f32 [B, H, W, C], noised; time f32 [B], 0 at the noise and 1 at the image; and, of
networks with classes, label i32 [B], of which the number of classes is "none", as where no label is
given (classifier-free guidance, https://arxiv.org/abs/2207.12598). Returns velocity [B, H, W, C].

Without time it encodes: images are taken as they are at `probe_time`, without a label, and only the
first half of the blocks runs. Both ways it returns sequence [B, N, D], the tokens after the middle
block, and pooled [B, D], their mean: the middle knows most (Xiang et al. 2023,
https://arxiv.org/abs/2303.09769).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError, nearest
from ssljax.core.sharding import BATCH, Axes, shard, take, whole_along
from ssljax.core.types import Inputs, Key, Model, Outputs, Params, PyTree
from ssljax.nn.adaln import AdaBlock, modulated, modulation
from ssljax.nn.attention import Attention
from ssljax.nn.linear import linear
from ssljax.nn.matmul import Matmul
from ssljax.nn.patches import patch_grid, patchify, sincos_table, unpatchify
from ssljax.nn.remat import Remat, rematerialised
from ssljax.nn.transformer import Layers, is_unrolled

TINY = {"width": 16, "depth": 2, "num_heads": 2, "patch_size": 2, "image_size": 8, "channels": 1}
PARTITION: dict[str, tuple[Axes, ...]] = {
    "w_modulate": ("fsdp", None, None),           # [D, 6 or 2, D]
    "b_modulate": (None, None),                   # [6 or 2, D]
    "w_time_in": (None, "fsdp"),                  # [WAVES, D]
    "w_time_out": ("fsdp", None),                 # [D, D]
    "label_table": (None, "fsdp"),                # [classes + 1, D]
    "w_velocity": ("fsdp", None),                 # [D, P]
    "b_time_in": (None,), "b_time_out": (None,), "b_velocity": (None,),
}
# Width, depth, heads of table 1.
VARIANTS = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}
WAVES = 256             # of the time's embedding
TIME_SCALE = 1000.0     # time runs from 0 to 1, the waves are made for 1,000 steps


def time_waves(time: jax.Array) -> jax.Array:
    """Return cosines and sines f32 [B, WAVES] of times f32 [B], slowest last in each half."""
    half = WAVES // 2
    frequency = 10_000.0 ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = TIME_SCALE * time.astype(jnp.float32)[:, None] * frequency
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


class DiT(nn.Module):
    """Embed patches, time and label, transform, project to pixels."""

    width: int
    depth: int
    patch_size: int
    grid: int
    num_classes: int
    probe_time: float
    layers: Layers
    remat: Remat
    block: AdaBlock

    @nn.compact
    def __call__(self, inputs: Inputs) -> Outputs:
        """Return the outputs of inputs["image"] [B, H, W, C]."""
        image = shard(inputs["image"], BATCH, None, None, None)
        condition = self.condition(inputs, image.shape[0])
        patches = patchify(image, self.patch_size)
        x = linear(self, "patch", patches, self.width)
        grid = tuple(side // self.patch_size for side in image.shape[1:3])
        x += jnp.asarray(sincos_table(grid, self.width, native=self.grid), x.dtype)
        x = shard(x, BATCH, "context", None)
        weights = self.param("blocks", self.start, x, condition)
        x = self.run(weights, slice(0, self.depth // 2), x, condition)
        middle = shard(x, BATCH, None, None)
        outputs = {"pooled": jnp.mean(middle, axis=1), "sequence": middle, "stats": {}}
        # Weights are the same whatever init has seen.
        if "time" not in inputs and not self.is_initializing():
            return outputs
        x = shard(self.run(weights, slice(self.depth // 2, None), x, condition), BATCH, None, None)
        x = modulated(x, *modulation(self, condition, 2))
        y = linear(self, "velocity", x, patches.shape[-1], nn.initializers.zeros)
        return {"velocity": unpatchify(y, image.shape, self.patch_size), **outputs}

    def condition(self, inputs: Inputs, rows: int) -> jax.Array:
        """Return what steers the blocks, [B, D]: the embeddings of time and label, added."""
        time = inputs.get("time")
        time = jnp.full(rows, self.probe_time) if time is None else time
        start = nn.initializers.normal(0.02)
        y = linear(self, "time_in", time_waves(shard(time, BATCH))[:, None], self.width, start)
        y = linear(self, "time_out", jax.nn.silu(y), self.width, start)[:, 0]
        if not self.num_classes:
            return y
        table = self.param("label_table", start, (self.num_classes + 1, self.width))
        label = inputs.get("label")
        label = jnp.full(rows, self.num_classes) if label is None else label
        return y + take(table, shard(label, BATCH), out=(BATCH, None)).astype(y.dtype)

    def start(self, key: Key, x: jax.Array, condition: jax.Array) -> Any:
        """Return the weights of all blocks, the layer as the first axis."""
        one = lambda key: self.block.init(key, x, condition)["params"]  # noqa: E731
        return jax.lax.map(one, jax.random.split(key, self.depth))

    def run(self, weights: Any, which: slice, x: jax.Array, condition: jax.Array) -> jax.Array:
        """Send x [B, N, D] through some of the blocks; their weights alone are made by init."""
        if self.is_initializing():
            return x
        unrolled = is_unrolled(self.layers, self.depth, self.remat)
        one = rematerialised(lambda x, w: self.block.apply({"params": w}, x, condition),
                             self.remat, unrolled)
        weights = jax.tree.map(lambda w: w[which], whole_along(weights, "stage"))
        return jax.lax.scan(lambda x, w: (one(x, w), None), x, weights, unroll=unrolled or 1)[0]


def make(*, image_size: int, channels: int = 3, variant: str = "", width: int = 0, depth: int = 0,
         num_heads: int = 0, patch_size: int = 0, mlp_dim: int = 0, num_classes: int = 0,
         probe_time: float = 0.9, attention: Attention = "auto", layers: Layers = "auto",
         remat: Remat = "none", matmul: Matmul = "full") -> Model:
    """Return the diffusion transformer, by variant such as "S/2" or by its dimensions.

    Args:
        image_size: height and width in pixels that positions are made for, a multiple of the
            patch size; images of other sizes span the same positions.
        channels: C.
        variant: S, B, L or XL, a slash and the patch size; sets the four dimensions below, of which
            those that are told as well win.
        width: D, a multiple of num_heads and of 4.
        depth: number of blocks, at least two.
        num_heads: H.
        patch_size: side of a patch in pixels.
        mlp_dim: hidden units F; 4 D unless told.
        num_classes: of the labels; 0 reads none.
        probe_time: the time that images without one are at. A little before 1, where the network
            has learned to remove a little noise: at 1 it has nothing left to know.
        attention: the program that computes attention; see nn.attention.choose_attention.
        layers: one compiled block in a loop, or all unrolled; "auto" by depth and remat.
        remat: what the backward pass computes again; see nn.remat.
        matmul: "fp8" rounds the operands of products in blocks to eight bits; see nn.matmul.

    Raises:
        ConfigError: unknown variant, a dimension neither told nor in a variant, or dimensions that
            do not divide.
    """
    width, depth, num_heads, patch_size = dimensions(variant, width, depth, num_heads, patch_size)
    block = AdaBlock(num_heads, mlp_dim or 4 * width, attention, matmul, parent=None)
    net = DiT(width, depth, patch_size, patch_grid(image_size, patch_size), num_classes, probe_time,
              layers, remat, block)

    def check(inputs: Inputs) -> None:
        shape = inputs["image"].shape[1:]
        if len(shape) != 3 or shape[2] != channels or any(s % patch_size for s in shape[:2]):
            raise ConfigError(f"dit reads images of {channels} channels whose sides are multiples "
                              f"of {patch_size} but got {shape}; set channels, patch_size or "
                              "image_size of the model to those of the pretext.")
        if "label" in inputs and not num_classes:
            raise ConfigError("dit got labels but has num_classes 0; set num_classes of the model "
                              "to the pretext's.")

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
    if variant and (size not in VARIANTS or not patch.isdecimal()):
        raise ConfigError(f'dit has no variant "{variant}"; write a size and a patch size such as '
                          f'"S/2": {nearest(size, VARIANTS)}')
    default = (*VARIANTS[size], int(patch)) if variant else (0, 0, 0, 0)
    width, depth, heads, patch_size = (t or d for t, d in zip(told, default, strict=True))
    if min(width, heads, patch_size) < 1 or depth < 2 or width % heads or width % 4:
        raise ConfigError(f"dit of width {width}, depth {depth}, {heads} heads and patch_size "
                          f"{patch_size}: expected at least two blocks and a width that divides by "
                          'the heads and by 4; a variant such as "S/2" sets all four.')
    return width, depth, heads, patch_size
