"""Convolutions and pooling of images [B, H, W, C], rows over the mesh and weights gathered.

The same lines run without a mesh, on Auto and on Explicit axes: every device convolves its own
rows with whole weights, whose gradients are summed over devices. Shapes: F channels of the result,
K side of a kernel.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.core.local import local
from ssljax.core.sharding import BATCH, reshape, shard
from ssljax.nn.matmul import project

ROWS = (BATCH, None, None, None)
FEW_PLACES = 4         # of a result, up to which `products` is faster
# He et al. 2015, https://arxiv.org/abs/1502.01852, by fan-out as in released ResNets.
HE = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def conv(x: jax.Array, w: jax.Array, *, stride: int = 1) -> jax.Array:
    """Convolve x [B, H, W, C] with w [K, K, C, F], or [K, K, 1, C] for every channel by itself.

    Args:
        x: images, with (K - 1) // 2 pixels of zeros around them: as many places as pixels for odd
            K, and no zeros for K = 2. Kernels as large as their stride cut patches, without zeros.
        w: the kernel.
        stride: pixels from one place to the next, along both sides.

    Returns:
        [B, H', W', F] of x's dtype.
    """
    side, channels = w.shape[0], x.shape[-1]
    if w.shape[2] == 1 and channels > 1 and w.shape[3] == channels:
        return depthwise(x, w)
    if side == 1:
        # A product over one flat axis: XLA's CPU convolution takes four times as long to give the
        # gradient of a kernel of one pixel (96 and 24 ms of one core for 64 rows, 64 -> 256).
        x = x[:, ::stride, ::stride] if stride > 1 else x
        return project("BHWC,CF->BHWF", x, shard(w, None, None, None, None)[0, 0], out=ROWS)
    padding = 0 if stride == side else (side - 1) // 2
    if on_one_cpu() and stride < side and x.shape[1] * x.shape[2] <= FEW_PLACES * stride**2:
        return products(x, w, stride, padding)
    return correlate(x, w, stride, padding, 1)


def on_one_cpu() -> bool:
    """Say whether this is traced for a CPU without a mesh: where XLA's convolution has gaps."""
    return jax.sharding.get_abstract_mesh().empty and jax.default_backend() == "cpu"


def products(x: jax.Array, w: jax.Array, stride: int, padding: int) -> jax.Array:
    """Convolve as a sum of matrix products, one for every pixel of the kernel.

    For maps of few places, which XLA's CPU convolution is made for least: with gradients, 256 maps
    of 2 x 2 x 128 take 82 ms of one core there and 13 here; of 4 x 4 x 64 it is 16 and 18.
    """
    side, channels = w.shape[0], x.shape[-1]
    rows, columns = ((n + 2 * padding - side) // stride + 1 for n in x.shape[1:3])
    wide = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    y = jnp.zeros((), x.dtype)
    for i in range(side):
        for j in range(side):
            part = wide[:, i:i + stride * rows:stride, j:j + stride * columns:stride]
            y = y + part.reshape(-1, channels) @ w[i, j]
    return y.reshape(x.shape[0], rows, columns, -1)


def correlate(x: jax.Array, w: jax.Array, stride: int, padding: int, groups: int) -> jax.Array:
    """Return XLA's convolution, every device on its own rows and with whole weights.

    In a shard_map: left to lay out a depthwise gradient of the kernel, XLA (jaxlib 0.10.2) gives it
    once for every device along axes that the rows do not use, twice as large with two of them.
    """
    def run(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, w, (stride, stride), ((padding, padding),) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups)

    return local(run, (ROWS, (None,) * 4), ROWS)(x, w)


def depthwise(x: jax.Array, w: jax.Array) -> jax.Array:
    """Convolve every channel of x [B, H, W, C] with its own kernel w [K, K, 1, C], K odd."""
    if on_one_cpu():
        return shifted(x, w)
    return correlate(x, w, 1, (w.shape[0] - 1) // 2, x.shape[-1])


@jax.custom_vjp
def shifted(x: jax.Array, w: jax.Array) -> jax.Array:
    """Return `depthwise` as a sum of shifted images.

    XLA's CPU convolution multiplies depthwise kernels one number at a time: 28 ms of one core for
    64 rows of 8 x 8 x 64 and K = 7, where this takes 2, and its gradient 78. A loop over rows of
    the kernel keeps the program small: 49 shifts in one take 1.5 s to compile.
    """
    side = w.shape[0]
    wide = padded(x, side)

    def add(y: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        i, taps = row                                                          # taps [K, 1, C]
        band = jax.lax.dynamic_slice_in_dim(wide, i, x.shape[1], axis=1)
        return y + sum(band[:, :, j:j + x.shape[2]] * taps[j] for j in range(side)), None

    return jax.lax.scan(add, jnp.zeros_like(x), (jnp.arange(side), w))[0]


def padded(x: jax.Array, side: int) -> jax.Array:
    """Return x [B, H, W, C] with zeros around it for a kernel of that side."""
    edge = ((side - 1) // 2,) * 2
    return jnp.pad(x, ((0, 0), edge, edge, (0, 0)))


def shifted_backward(kept: tuple[jax.Array, jax.Array], dy: jax.Array,
                     ) -> tuple[jax.Array, jax.Array]:
    """Return the gradients of `shifted`: the turned kernel over dy, and products with dy."""
    x, w = kept
    side = w.shape[0]
    wide = padded(x, side)

    def taps(i: jax.Array) -> jax.Array:
        band = jax.lax.dynamic_slice_in_dim(wide, i, x.shape[1], axis=1)
        rows = [jnp.sum(band[:, :, j:j + x.shape[2]] * dy, axis=(0, 1, 2)) for j in range(side)]
        return jnp.stack(rows)[:, None]

    return shifted(dy, w[::-1, ::-1]), jax.lax.map(taps, jnp.arange(side)).astype(w.dtype)


shifted.defvjp(lambda x, w: (shifted(x, w), (x, w)), shifted_backward)


def max_pool(x: jax.Array, *, side: int = 3, stride: int = 2) -> jax.Array:
    """Return the largest value of every window of x [B, H, W, C], (side - 1) // 2 around it."""
    edge = ((side - 1) // 2,) * 2
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, side, side, 1),
                                 (1, stride, stride, 1), ((0, 0), edge, edge, (0, 0)))


def as_sequence(x: jax.Array) -> jax.Array:
    """Return places of x [B, H, W, C] row by row, [B, H W, C]."""
    return reshape(x, (x.shape[0], x.shape[1] * x.shape[2], x.shape[3]), (BATCH, None, None))


class Conv(nn.Module):
    """`conv` with its kernel, and a bias where asked."""

    features: int
    side: int
    stride: int = 1
    depthwise: bool = False
    bias: bool = False
    start: nn.initializers.Initializer = HE

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map x [B, H, W, C] to [B, H', W', F]."""
        fan_in = 1 if self.depthwise else x.shape[-1]
        w = self.param("w_conv", self.start, (self.side, self.side, fan_in, self.features))
        y = conv(x.astype(w.dtype), w, stride=self.stride)
        if not self.bias:
            return y
        return y + self.param("b_conv", nn.initializers.zeros, (self.features,))


def sizes(told: Sequence[int], default: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of a config where it tells any, else the default."""
    return tuple(told) or tuple(default)
