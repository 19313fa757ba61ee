"""Residual network, He et al. 2016, https://arxiv.org/abs/1512.03385, with batch norm.

Version 1.5: bottlenecks stride in their 3 x 3 convolution. Reads image f32 [B, H, W, C] of any
size. Returns pooled [B, D], the mean over places of the last map, sequence [B, h w, D], those
places row by row, and stats, the running statistics of batch norm: over the global batch, whatever
the mesh, and moved where `train` is True.
"""

from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError, nearest
from ssljax.core.sharding import BATCH, shard
from ssljax.core.types import Inputs, Key, Model, Outputs, Params, PyTree
from ssljax.nn.batch_norm import STATS, BatchNorm
from ssljax.nn.conv import Conv, as_sequence, max_pool, sizes

TINY = {"depths": (1, 1), "widths": (8, 16), "stem": "small", "channels": 1}

# Blocks of each stage, and whether they are bottlenecks: table 1 of the paper.
VARIANTS = {"18": ((2, 2, 2, 2), False), "34": ((3, 4, 6, 3), False), "50": ((3, 4, 6, 3), True)}
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4
Stem = Literal["imagenet", "small", "overlap", "patch"]
STEMS = {"imagenet": (7, 2), "small": (3, 1), "overlap": (4, 2), "patch": (4, 4)}   # side, stride


class Block(nn.Module):
    """Two 3 x 3 convolutions, or 1 x 1, 3 x 3, 1 x 1 with four times the width, and a shortcut."""

    width: int
    stride: int
    bottleneck: bool
    zero_scale: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Map x [B, H, W, C] to [B, H / stride, W / stride, width or 4 width]."""
        layers = [(1, 1, 1), (3, self.stride, 1), (1, 1, EXPANSION)] if self.bottleneck else [
            (3, self.stride, 1), (3, 1, 1)]
        features = self.width * layers[-1][2]
        y = x
        for i, (side, stride, factor) in enumerate(layers):
            last = i == len(layers) - 1
            y = Conv(self.width * factor, side, stride, name=f"conv{i}")(y)
            # A scale that starts at 0 makes every block the identity, Goyal et al. 2017,
            # https://arxiv.org/abs/1706.02677.
            scale = 0.0 if last and self.zero_scale else 1.0
            y = BatchNorm(scale=scale, name=f"norm{i}")(y, train=train)
            y = y if last else jax.nn.relu(y)
        if x.shape[-1] != features or self.stride > 1:
            x = Conv(features, 1, self.stride, name="conv_shortcut")(x)
            x = BatchNorm(name="norm_shortcut")(x, train=train)
        return jax.nn.relu(x + y)


class ResNet(nn.Module):
    """A stem and stages of blocks, each but the first at half the resolution of the one before."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    bottleneck: bool
    stem: Stem
    zero_scale: bool

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> Outputs:
        """Return pooled and sequence of image [B, H, W, C]."""
        side, stride = STEMS[self.stem]
        x = Conv(self.widths[0], side, stride, name="conv_stem")(
            shard(image, BATCH, None, None, None))
        x = jax.nn.relu(BatchNorm(name="norm_stem")(x, train=train))
        x = max_pool(x) if self.stem == "imagenet" else x
        for i, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                x = Block(width, stride, self.bottleneck, self.zero_scale,
                          name=f"stage{i}_block{j}")(x, train)
        return {"pooled": jnp.mean(x, axis=(1, 2)), "sequence": as_sequence(x)}


def make(*, variant: str = "", channels: int = 3, stem: Stem = "imagenet",
         depths: Sequence[int] = (), widths: Sequence[int] = (), bottleneck: bool = False,
         zero_scale: bool = True) -> Model:
    """Return the residual network, by variant or by its dimensions.

    Args:
        variant: 18, 34 or 50; sets the three dimensions below, of which `depths` and `widths` win
            where they are told as well.
        channels: C.
        stem: imagenet has 7 x 7 / 2 and max-pooling, small 3 x 3 / 1 (images of 32 pixels); for
            CPUs, overlap has 4 x 4 / 2 and patch 4 x 4 / 4, a quarter and a sixteenth of small's
            work.
        depths: blocks of every stage.
        widths: channels of every stage; 64, 128, 256, 512 unless told. Bottlenecks return four
            times as many.
        bottleneck: whether blocks have three convolutions.
        zero_scale: whether the last scale of every block starts at 0.

    Raises:
        ConfigError: unknown variant, no depths, or not as many widths as depths.
    """
    if variant and variant not in VARIANTS:
        raise ConfigError(f'resnet has no variant "{variant}"; {nearest(variant, VARIANTS)}')
    default, deep = VARIANTS.get(variant, ((), bottleneck))
    depths = sizes(depths, default)
    widths = sizes(widths, WIDTHS[:len(depths)])
    if not depths or len(depths) != len(widths):
        raise ConfigError(f"resnet has depths {depths} and widths {widths}; tell a variant such as "
                          '"18", or as many of one as of the other.')
    net = ResNet(depths, widths, deep or bottleneck, stem, zero_scale)

    def image_of(inputs: Inputs) -> jax.Array:
        image = inputs["image"]
        if image.ndim != 4 or image.shape[-1] != channels:
            raise ConfigError(f"resnet reads images [B, H, W, {channels}] but got {image.shape}; "
                              "set channels of the model to those of the pretext.")
        return image

    def init(key: Key, inputs: Inputs) -> tuple[Params, PyTree]:
        variables = net.init(key, image_of(inputs), False)
        return variables["params"], variables[STATS]

    def apply(params: Params, inputs: Inputs, *, stats: PyTree = None, cache: PyTree = None,
              key: Key | None = None, train: bool = False) -> Outputs:
        del cache, key
        if stats is None:
            raise ConfigError("resnet needs the running statistics that init returned with the "
                              "weights; pass stats= to apply.")
        variables = {"params": params, STATS: stats}
        if not train:
            return {**net.apply(variables, image_of(inputs), False), "stats": stats}
        outputs, moved = net.apply(variables, image_of(inputs), True, mutable=[STATS])
        return {**outputs, "stats": moved[STATS]}

    return Model(init, apply)
