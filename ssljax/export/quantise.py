"""Weights in eight bits, with one scale a channel, made whole again inside the program.

Symmetric round-to-nearest: of each group of entries the largest magnitude becomes 127 (int8) or 448
(e4m3, Micikevicius et al. 2022, https://arxiv.org/abs/2209.05433). A group is what is summed into
one output, so an error stays within its channel. Matrices and token tables are quantised; norms,
biases, learned tokens and routers are few, sensitive, and stay float32.

A quantised leaf w becomes {"int8": i8 as w, "scale": f32 broadcastable}, or {"fp8": u8 as w, ...}:
the bits of e4m3, because NumPy and old readers of safetensors have no such type.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from ssljax.core.tree import leaf_name
from ssljax.core.types import PyTree

Kind = Literal["int8", "fp8"]
KINDS: tuple[Kind, ...] = ("int8", "fp8")
TOP = {"int8": 127.0, "fp8": float(ml_dtypes.finfo(ml_dtypes.float8_e4m3fn).max)}

# Axes that a product with the weight sums over, from the end, so that a leading axis of layers or
# experts changes nothing; every other matrix is [.., in, out].
SUMMED = {
    "w_qkv": (-4,),               # [D, 3, H, K]
    "w_out": (-3, -2),            # [H, K, D]
    "w_conv": (-4, -3, -2),       # [K, K, C, F]
    "embedding": (-1,),           # [V, D]: a row is a token
    "w_vocab": (-1,),             # [V, D]
}
OTHER = (-2,)
QUANTISED = re.compile(r"w_(?!router).*|embedding")
SMALLEST = 1024                   # entries; below it the scales and the rounding are not worth it


def quantise(weights: PyTree, kind: Kind) -> PyTree:
    """Return host `weights` with its large matrices as eight bits and scales.

    Args:
        weights: nested dicts of float32 arrays.
        kind: "int8" or "fp8".
    """
    def small(path: tuple[Any, ...], leaf: Any) -> Any:
        leaf = np.asarray(leaf)
        if not eligible(path, leaf):
            return leaf
        return pack(leaf, summed(leaf_name(path), leaf.ndim), kind)

    return jax.tree_util.tree_map_with_path(small, weights)


def eligible(path: tuple[Any, ...], leaf: np.ndarray) -> bool:
    """Say whether a leaf is a matrix or table worth quantising."""
    return (QUANTISED.fullmatch(leaf_name(path)) is not None and leaf.ndim >= 2
            and leaf.size >= SMALLEST and np.issubdtype(leaf.dtype, np.floating))


def summed(name: str, ndim: int) -> tuple[int, ...]:
    """Return the axes that share a scale."""
    axes = SUMMED.get(name, OTHER)
    return axes if -min(axes) <= ndim else OTHER


def pack(leaf: np.ndarray, axes: tuple[int, ...], kind: Kind) -> dict[str, np.ndarray]:
    """Return eight bits and scales of one array; a group of zeros keeps the scale 1."""
    peak = np.max(np.abs(leaf), axis=axes, keepdims=True)
    scale = np.where(peak > 0, peak / TOP[kind], 1.0).astype(np.float32)
    # Clipped, because e4m3 has no infinity and a peak rounded up would become not-a-number.
    level = np.clip(leaf / scale, -TOP[kind], TOP[kind])
    if kind == "int8":
        return {"int8": np.rint(level).astype(np.int8), "scale": scale}
    return {"fp8": level.astype(ml_dtypes.float8_e4m3fn).view(np.uint8), "scale": scale}


def dense(weights: PyTree) -> PyTree:
    """Return float32 weights of quantised ones; traced into every program of such an artefact."""
    return jax.tree.map(unpack, weights, is_leaf=is_packed)


def is_packed(node: Any) -> bool:
    """Say whether a node of the weights is a quantised leaf."""
    return isinstance(node, Mapping) and node.keys() in ({"int8", "scale"}, {"fp8", "scale"})


def unpack(node: Any) -> Any:
    """Return one leaf as float32; leaves that were not quantised as they are."""
    if not is_packed(node):
        return node
    if "int8" in node:
        return node["int8"].astype(jnp.float32) * node["scale"]
    bits = jax.lax.bitcast_convert_type(node["fp8"], jnp.float8_e4m3fn)
    return bits.astype(jnp.float32) * node["scale"]
