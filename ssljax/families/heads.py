"""Projection and prediction heads: small perceptrons on what an encoder pools, as pure functions.

The heads of SimCLR (https://arxiv.org/abs/2002.05709), BYOL, SimSiam, SwAV, Barlow Twins, VICReg
and DINO differ only in depth, widths and where they normalise: one function says all of it. Batch
statistics move through `apply` and live in an objective's `extra`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, Axes, einsum
from ssljax.core.types import Key, Params, PyTree
from ssljax.nn.batch_norm import batch_norm, initial_stats

# Layers alternate, so that a hidden layer is split over tensor and the next sums it up again.
PARTITION: dict[str, tuple[Axes, ...]] = {
    "w_head_up": ("fsdp", "tensor"),              # [D, F]
    "w_head_down": ("tensor", "fsdp"),            # [F, D]
}
Norm = Literal["batch", "layer", "none"]
LastNorm = Literal["none", "batch", "plain"]
Activation = Literal["relu", "gelu"]
Bias = Literal["auto", "all", "none"]
ACTIVATIONS = {"relu": jax.nn.relu, "gelu": jax.nn.gelu}


class Head(NamedTuple):
    """A small network on vectors.

    init:  (key, width) -> (params, stats); width is D of what it reads, stats are batch statistics
    apply: (params, stats, x [..., D], *, train) -> (y [..., E], stats); with train=False batch
           norms use the statistics instead of the batch
    """

    init: Callable[[Key, int], tuple[Params, PyTree]]
    apply: Callable[..., tuple[jax.Array, PyTree]]


def mlp(sizes: Sequence[int], *, norm: Norm = "batch", last_norm: LastNorm = "none",
        activation: Activation = "relu", bias: Bias = "auto") -> Head:
    """Return a perceptron with one linear layer for each of `sizes`.

    Args:
        sizes: widths of the layers' outputs; the last is E. Empty: the head returns what it reads.
        norm: between a hidden layer and its activation.
        last_norm: of the output: none, batch norm, or "plain" batch norm without scale and bias.
        activation: of hidden layers.
        bias: "auto" leaves biases out where a norm follows, which would undo or replace them.

    Raises:
        ConfigError: a size below one.
    """
    if any(size < 1 for size in sizes):
        raise ConfigError(f"head of sizes {tuple(sizes)}: every layer needs at least one unit.")
    norms = (*[norm] * (len(sizes) - 1), last_norm)[:len(sizes)]
    matrices = ["w_head_down" if i % 2 else "w_head_up" for i in range(len(sizes))]
    act = ACTIVATIONS[activation]

    def init(key: Key, width: int) -> tuple[Params, PyTree]:
        params, stats = {}, {}
        widths = (width, *sizes)
        for i, kind in enumerate(norms):
            layer = {matrices[i]: jax.nn.initializers.lecun_normal()(
                jax.random.fold_in(key, i), widths[i:i + 2])}
            affine, moving = init_norm(kind, sizes[i])
            if bias == "all" or (bias == "auto" and kind == "none"):
                layer["bias"] = jnp.zeros((sizes[i],))
            params[f"layer{i}"] = layer | ({"norm": affine} if affine else {})
            if moving:
                stats[f"layer{i}"] = moving
        return params, stats

    def apply(params: Params, stats: PyTree, x: jax.Array, *, train: bool,
              ) -> tuple[jax.Array, PyTree]:
        moved = dict(stats)
        for i, kind in enumerate(norms):
            layer, last = params[f"layer{i}"], i == len(norms) - 1
            x = linear(x, layer[matrices[i]], "tensor" if i % 2 == 0 and not last else None)
            if "bias" in layer:
                x += layer["bias"]
            x, new = apply_norm(kind, x, stats.get(f"layer{i}"), layer.get("norm", {}), train)
            if new:
                moved[f"layer{i}"] = new
            x = x if last else act(x)
        return x, moved

    return Head(init, apply)


def linear(x: jax.Array, w: jax.Array, axis: Axes) -> jax.Array:
    """Return x [..., D] times w [D, F] in the dtype of w, its last dimension laid along `axis`."""
    out = (BATCH, *(None,) * (x.ndim - 2), axis)
    return einsum("...D,DF->...F", x.astype(w.dtype), w, out=out)


def init_norm(kind: str, width: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return scale and bias of a norm of `width`, and its statistics; empty where it has none."""
    affine = {"scale": jnp.ones((width,)), "bias": jnp.zeros((width,))}
    return ({} if kind in ("none", "plain") else affine,
            initial_stats(width) if kind in ("batch", "plain") else {})


def apply_norm(kind: str, x: jax.Array, stats: PyTree, affine: Params, train: bool,
               ) -> tuple[jax.Array, PyTree]:
    """Return x [..., F] normalised, in its dtype, and the statistics moved on."""
    if kind == "none":
        return x, None
    if kind == "layer":
        return layer_norm(x, affine["scale"], affine["bias"]), None
    return batch_norm(x, stats, affine.get("scale"), affine.get("bias"), train=train)


def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """Normalise the last axis of x [..., F], in float32; returns the dtype of x."""
    y = x.astype(jnp.float32)
    y -= jnp.mean(y, axis=-1, keepdims=True)
    y *= jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + 1e-6)
    return (y * scale.astype(jnp.float32) + bias.astype(jnp.float32)).astype(x.dtype)
