"""Products of activations with weights: one form that compilers like, and fp8 behind a switch.

fp8 is per-tensor current scaling (Micikevicius et al. 2022, https://arxiv.org/abs/2209.05433):
activations and weights are rounded to e4m3, gradients of the result to e5m2, each scaled so that
its largest entry is the format's largest. Written as round-and-scale-back around an ordinary
product, which XLA compiles to cuBLAS's fp8 products where the GPU has them (dimensions that are
multiples of 16) and computes as written, slower, elsewhere. Sums stay in the wider format, and so
do norms, softmax, the vocabulary and the weights themselves.
"""

import contextlib
import contextvars
import functools
import math
from collections.abc import Iterator
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from absl import logging

from ssljax.core.sharding import Axes, einsum

Matmul = Literal["full", "fp8"]
FORWARD, BACKWARD = jnp.float8_e4m3fn, jnp.float8_e5m2
FP8_CAPABILITY = 8.9        # CUDA compute capability of Ada; Hopper is 9.0
TURNED = contextvars.ContextVar("TURNED", default=False)


def project(subscripts: str, x: jax.Array, w: jax.Array, *, out: tuple[Axes, ...],
            matmul: Matmul = "full") -> jax.Array:
    """Return einsum(subscripts, x, w), its result laid out along the mesh axes `out`.

    Args:
        subscripts: as in "BLD,DF->BLF": x's last axes are summed with w's first or last ones, and
            the result has x's other axes and then w's.
        x: activations.
        w: a weight.
        out: mesh axes of the result's dimensions.
        matmul: "full" multiplies in the dtype of x and w, "fp8" rounds both to eight bits.
    """
    if matmul == "fp8":
        announce_fp8()
        y = project(subscripts, rounded(x), rounded(w), out=out)
        return rounded_gradient(y)
    if jax.sharding.get_abstract_mesh().empty:
        return flat_product(subscripts, x, w)
    return einsum(subscripts, x, w, out=out)


def flat_product(subscripts: str, x: jax.Array, w: jax.Array) -> jax.Array:
    """Return the product as one of two matrices.

    einsum's gradient of the weight sums over two axes (B and L), for which XLA's CPU compiler
    copies both operands transposed; over one flat axis it needs no copy: a step of a 12M-parameter
    GPT took 12 % less on one core. On a mesh flattening would mix sharded axes.
    """
    operands, _, result = subscripts.partition("->")
    left, _, right = operands.partition(",")
    summed = [axis for axis in left if axis not in result]
    n = len(summed)
    width = math.prod(x.shape[-n:])
    first = list(right[:n]) == summed
    matrix = w.reshape((width, -1) if first else (-1, width))
    axis = 0 if first else 1
    y = (served_product if TURNED.get() else straight_product)(x.reshape(-1, width), matrix, axis)
    return y.reshape(*x.shape[:-n], *(w.shape[n:] if first else w.shape[:-n]))


def straight_product(x: jax.Array, w: jax.Array, axis: int) -> jax.Array:
    """Return x [M, I] times w, whose `axis` of I entries is summed: [M, O]."""
    return jax.lax.dot_general(x, w, (((1,), (axis,)), ((), ())))


def turned_product(x: jax.Array, w: jax.Array, axis: int) -> jax.Array:
    """Return the same as the transpose of w times x transposed.

    XLA's CPU compiler packs the right operand in every call, and for a few rows it is better that
    this is x: GPT-2's vocabulary takes 17 ms for 16 rows and 28 straight, its twelve pairs of MLP
    matrices 23 and 35; for 128 rows both take the same. For more than one row it needs w with I
    last in memory (serve/turned.py), else w is transposed first, at several times the cost.
    """
    # Without barriers the compiler takes both transposes out, and multiplies straight.
    held = jax.lax.optimization_barrier
    return held(jax.lax.dot_general(w, held(x.T), (((axis,), (0,)), ((), ())))).T


def served_product(x: jax.Array, w: jax.Array, axis: int) -> jax.Array:
    """Return the product in the form that is fastest where it runs."""
    straight, turned = (partial(form, axis=axis) for form in (straight_product, turned_product))
    return jax.lax.platform_dependent(x, w, cpu=turned, default=straight)


@contextlib.contextmanager
def turned_products(wanted: bool = True) -> Iterator[None]:
    """Trace what is inside with turned products on CPUs: programs that are to serve few rows."""
    token = TURNED.set(wanted)
    try:
        yield
    finally:
        TURNED.reset(token)


def round_to(x: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Return x rounded to an eight-bit format with one scale for the whole tensor, in x's dtype.

    The scale is the largest entry over the format's largest number; a tensor of zeros keeps 1.
    """
    top = float(jnp.finfo(dtype).max)
    peak = jnp.max(jnp.abs(x)).astype(jnp.float32)
    scale = jnp.where(peak > 0, peak / top, 1.0)
    # Clipped, because e4m3 has no infinity and a peak rounded up would become not-a-number.
    small = jnp.clip(x.astype(jnp.float32) / scale, -top, top).astype(dtype)
    return (small.astype(jnp.float32) * scale).astype(x.dtype)


@jax.custom_vjp
def rounded(x: jax.Array) -> jax.Array:
    """Round an operand; the gradient passes as if nothing had happened."""
    return round_to(x, FORWARD)


rounded.defvjp(lambda x: (round_to(x, FORWARD), None), lambda _, dx: (dx,))


@jax.custom_vjp
def rounded_gradient(y: jax.Array) -> jax.Array:
    """Return y; the gradient that comes back is rounded, so that both backward products see it."""
    return y


rounded_gradient.defvjp(lambda y: (y, None), lambda _, dy: (round_to(dy, BACKWARD),))


def has_fp8(platform: str, capability: str) -> bool:
    """Say whether a device multiplies in fp8: NVIDIA GPUs from Ada and Hopper on."""
    try:
        return platform == "gpu" and float(capability) >= FP8_CAPABILITY
    except ValueError:
        return False


@functools.cache
def announce_fp8() -> None:
    """Log, once, whether fp8 products run here or are emulated."""
    device = jax.devices()[0]
    if has_fp8(device.platform, str(getattr(device, "compute_capability", ""))):
        logging.info("fp8 products on %s.", device.device_kind)
    else:
        logging.warning("matmul \"fp8\": %s has no fp8 products; they are emulated, with the same "
                        "rounding and slower than matmul \"full\".", device.device_kind)
