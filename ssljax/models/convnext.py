"""ConvNeXt, Liu et al. 2022, https://arxiv.org/abs/2201.03545: a convolutional network of today.

Blocks of a depthwise 7 x 7 convolution, LayerNorm and a feed-forward layer with GELU, at four
resolutions. Reads image f32 [B, H, W, C] whose sides are multiples of the last map's stride.
Returns pooled [B, D], the normed mean over places of the last map, and sequence [B, h w, D], the
places row by row. No row sees another: there are no statistics.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError, nearest
from ssljax.core.sharding import BATCH, shard
from ssljax.core.types import Inputs, Key, Model, Outputs, Params, PyTree
from ssljax.nn.conv import Conv, as_sequence, sizes
from ssljax.nn.matmul import project
from ssljax.nn.norm import LayerNorm
from ssljax.nn.transformer import Drop, dropped

TINY = {"depths": (1, 1), "widths": (8, 16), "patch_size": 2, "channels": 1}

# Blocks and channels of every stage: section 3 of the paper; atto is that of ConvNeXt V2,
# https://arxiv.org/abs/2301.00808.
VARIANTS = {"atto": ((2, 2, 6, 2), (40, 80, 160, 320)), "T": ((3, 3, 9, 3), (96, 192, 384, 768)),
            "S": ((3, 3, 27, 3), (96, 192, 384, 768)), "B": ((3, 3, 27, 3), (128, 256, 512, 1024)),
            "L": ((3, 3, 27, 3), (192, 384, 768, 1536))}
KERNEL = 7
NORMAL = nn.initializers.truncated_normal(0.02)


class Block(nn.Module):
    """x + gamma mlp(norm(depthwise(x))), the mlp four times as wide inside."""

    layer_scale: float

    @nn.compact
    def __call__(self, x: jax.Array, drop: Drop | None) -> jax.Array:
        """Map x [B, H, W, C] to [B, H, W, C]."""
        width = x.shape[-1]
        y = Conv(width, KERNEL, depthwise=True, bias=True, start=NORMAL, name="conv")(x)
        y = LayerNorm(name="norm")(y)
        w_up = self.param("w_up", NORMAL, (width, 4 * width))
        b_up = self.param("b_up", nn.initializers.zeros, (4 * width,))
        w_down = self.param("w_down", NORMAL, (4 * width, width))
        b_down = self.param("b_down", nn.initializers.zeros, (width,))
        y = project("BHWC,CF->BHWF", y, w_up, out=(BATCH, None, None, "tensor"))
        y = project("BHWF,FC->BHWC", jax.nn.gelu(y + b_up), w_down, out=(BATCH, None, None, None))
        y += b_down
        if self.layer_scale:
            start = nn.initializers.constant(self.layer_scale)
            y *= self.param("gamma_mlp", start, (width,)).astype(y.dtype)
        return x + (y if drop is None else dropped(y, drop))


class ConvNeXt(nn.Module):
    """A stem that cuts patches, and stages of blocks, each at half the resolution of the last."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    patch_size: int
    layer_scale: float
    drop_path: float

    @nn.compact
    def __call__(self, image: jax.Array, key: Key | None) -> Outputs:
        """Return pooled and sequence of image [B, H, W, C]; `key` drops paths."""
        x = shard(image, BATCH, None, None, None)
        drops = self.drops(key)
        for i, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            side = self.patch_size if i == 0 else 2
            x = x if i == 0 else LayerNorm(name=f"norm_down{i}")(x)
            x = Conv(width, side, side, bias=True, start=NORMAL, name=f"conv_down{i}")(x)
            x = LayerNorm(name="norm_stem")(x) if i == 0 else x
            for j in range(depth):
                x = Block(self.layer_scale, name=f"stage{i}_block{j}")(x, drops.pop(0))
        pooled = LayerNorm(name="norm")(jnp.mean(x, axis=(1, 2)))
        return {"pooled": pooled, "sequence": as_sequence(x), "stats": {}}

    def drops(self, key: Key | None) -> list[Drop | None]:
        """Return the rate and key of every block; rates grow linearly from 0 to drop_path."""
        count = sum(self.depths)
        if not self.drop_path or key is None:
            return [None] * count
        rates = jnp.linspace(0, self.drop_path, count, dtype=jnp.float32)
        return [Drop(rates[i], jax.random.fold_in(key, i)) for i in range(count)]


def make(*, variant: str = "", channels: int = 3, depths: Sequence[int] = (),
         widths: Sequence[int] = (), patch_size: int = 4, layer_scale: float = 1e-6,
         drop_path: float = 0.0) -> Model:
    """Return the network, by variant or by its dimensions.

    Args:
        variant: atto, T, S, B or L; sets the two dimensions below, which win where told.
        channels: C.
        depths: blocks of every stage.
        widths: channels of every stage.
        patch_size: pixels along a side that the stem makes one place; 4 in the paper, 2 or 1 suit
            small images.
        layer_scale: where the learned scale of every block starts; 0 has none.
        drop_path: rate of stochastic depth of the last block, in training.

    Raises:
        ConfigError: unknown variant, not as many widths as depths, or a rate out of range.
    """
    if variant and variant not in VARIANTS:
        raise ConfigError(f'convnext has no variant "{variant}"; {nearest(variant, VARIANTS)}')
    default = VARIANTS.get(variant, ((), ()))
    depths, widths = (sizes(t, d) for t, d in zip((depths, widths), default, strict=True))
    if not depths or len(depths) != len(widths):
        raise ConfigError(f"convnext has depths {depths} and widths {widths}; tell a variant such "
                          'as "T", or as many of one as of the other.')
    if not 0 <= drop_path < 1:
        raise ConfigError(f"drop_path = {drop_path} is not a rate; use 0 to less than 1.")
    net = ConvNeXt(depths, widths, patch_size, layer_scale, drop_path)
    reduction = patch_size * 2 ** (len(depths) - 1)

    def image_of(inputs: Inputs) -> jax.Array:
        shape = inputs["image"].shape[1:]
        if len(shape) != 3 or shape[2] != channels or any(s % reduction for s in shape[:2]):
            raise ConfigError(f"convnext reads images of {channels} channels whose sides are "
                              f"multiples of {reduction} but got {shape}; change the pretext's "
                              "size, or channels, patch_size or depths of the model.")
        return inputs["image"]

    def init(key: Key, inputs: Inputs) -> tuple[Params, PyTree]:
        return net.init(key, image_of(inputs), None)["params"], {}

    def apply(params: Params, inputs: Inputs, *, stats: PyTree = None, cache: PyTree = None,
              key: Key | None = None, train: bool = False) -> Outputs:
        del stats, cache
        if train and drop_path and key is None:
            raise ConfigError(f"drop_path = {drop_path} needs a key where train is True; pass "
                              "key= to apply.")
        return net.apply({"params": params}, image_of(inputs), key if train else None)

    return Model(init, apply)
