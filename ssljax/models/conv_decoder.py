"""The light convolutional decoder of data2vec 2, Baevski et al. 2022.

https://arxiv.org/abs/2212.07525 (section 3.2 and table 12). Reads sequence [B, (tokens) + K, D], an
encoder's tokens of the visible patches behind class and register tokens, which are left out, and
visible i32 [B, K], where those patches belong. Returns predictions [B, N, D] for every patch.
Hidden patches start as zeros; the paper draws them with a deviation of .01, beside features of
size one.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, Axes, per_example, reshape, shard
from ssljax.core.types import Inputs, Key, Model, Outputs, Params, PyTree
from ssljax.nn.conv import correlate
from ssljax.nn.linear import linear
from ssljax.nn.patches import patch_grid

TINY = {"width": 16, "depth": 2, "groups": 2, "patch_size": 2, "image_size": 8}
PARTITION: dict[str, tuple[Axes, ...]] = {
    "w_grouped": (None, None, None, "fsdp"),          # [3, 3, D / groups, D]; read whole
    "b_grouped": (None,),
    "w_conv_out": ("fsdp", None),                     # [D, E]
    "b_conv_out": (None,),
}
MAPS = (BATCH, None, None, None)


def plain_norm(x: jax.Array) -> jax.Array:
    """Normalise the last axis, in float32, without scale and bias."""
    y = x.astype(jnp.float32)
    y -= jnp.mean(y, axis=-1, keepdims=True)
    y *= jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + 1e-6)
    return y.astype(x.dtype)


class Layer(nn.Module):
    """A grouped convolution, a norm and a GELU, beside what comes in where widths agree."""

    width: int
    groups: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map x [B, I, J, C] to [B, I, J, D]."""
        start = nn.initializers.lecun_normal(in_axis=(0, 1, 2))
        w = self.param("w_grouped", start, (3, 3, x.shape[-1] // self.groups, self.width))
        b = self.param("b_grouped", nn.initializers.zeros, (self.width,))
        x = x.astype(w.dtype)
        y = jax.nn.gelu(plain_norm(correlate(x, w, 1, 1, self.groups) + b))
        return x + y if x.shape == y.shape else y


class Decoder(nn.Module):
    """Put tokens back where they belong, convolve, widen."""

    width: int
    depth: int
    groups: int
    grid: int

    @nn.compact
    def __call__(self, inputs: Inputs) -> Outputs:
        """Return predictions [B, N, D] of inputs["sequence"] and inputs["visible"]."""
        sequence, visible = shard(inputs["sequence"], BATCH, None, None), inputs["visible"]
        b, _, features = sequence.shape
        if features % self.groups:
            raise ConfigError(f"conv_decoder reads {features} features in {self.groups} groups; "
                              "choose groups that divide them.")
        x = per_example(lambda rows, ids: jnp.zeros((self.grid**2, features), rows.dtype).at[
            ids].set(rows))(sequence[:, sequence.shape[1] - visible.shape[1]:], visible)
        x = reshape(x, (b, self.grid, self.grid, features), MAPS)
        for i in range(self.depth):
            x = Layer(self.width, self.groups, name=f"layer{i}")(x)
        x = reshape(x, (b, self.grid**2, self.width), (BATCH, None, None))
        return {"predictions": linear(self, "conv_out", x, features), "stats": {}}


def make(*, width: int, patch_size: int, image_size: int, depth: int = 6, groups: int = 16,
         ) -> Model:
    """Return the decoder; 768 wide serves ViT-B in the paper.

    Args:
        width: D of the maps between layers.
        patch_size: side of a patch in pixels, the encoder's.
        image_size: height and width in pixels, the encoder's.
        depth: layers, each of which sees one patch further.
        groups: of channels that a convolution keeps apart; divides both widths.

    Raises:
        ConfigError: groups do not divide the width.
    """
    if depth < 1 or groups < 1 or width % groups:
        raise ConfigError(f"conv_decoder width {width}, depth {depth}, groups {groups}: expected "
                          "at least one layer, and groups that divide the width.")
    net = Decoder(width, depth, groups, patch_grid(image_size, patch_size))

    def init(key: Key, inputs: Inputs) -> tuple[Params, PyTree]:
        return net.init(key, inputs)["params"], {}

    def apply(params: Params, inputs: Inputs, *, stats: PyTree = None, cache: PyTree = None,
              key: Key | None = None, train: bool = False) -> Outputs:
        del stats, cache, key, train
        return net.apply({"params": params}, inputs)

    return Model(init, apply)
