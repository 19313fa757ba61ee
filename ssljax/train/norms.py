"""Norms of gradients, updates and parameters, by block: where a run goes wrong first.

A block is one layer of a stack (weights under "blocks" have the layer as their first axis), or the
module that declares a weight.
"""

from typing import Any

import jax
import jax.numpy as jnp

from ssljax.core.sharding import shard
from ssljax.core.tree import named_leaves

STACK = "blocks"


def block_of(name: str) -> str:
    """Return the block of a weight's path: "decoder/blocks" of "decoder/blocks/mlp/w_up"."""
    parts = name.split("/")
    if STACK in parts:
        return "/".join(parts[:parts.index(STACK) + 1])
    return "/".join(parts[:-1]) or name


def block_norms(tree: Any) -> dict[str, jax.Array]:
    """Return block -> L2 norm: float32 [depth] of a stack, [] of every other block."""
    squares: dict[str, jax.Array] = {}
    for name, leaf in named_leaves(tree).items():
        block = block_of(name)
        axes = tuple(range(1 if block.endswith(STACK) else 0, leaf.ndim))
        square = jnp.sum(jnp.square(leaf.astype(jnp.float32)), axis=axes)
        # Layers may be sharded over stages; the log reads whole vectors.
        square = shard(square, *(None,) * square.ndim)
        squares[block] = squares[block] + square if block in squares else square
    return {block: jnp.sqrt(square) for block, square in squares.items()}


def named_norms(prefix: str, norms: dict[str, Any]) -> dict[str, float]:
    """Return the logged scalars of host norms: "<prefix>/<block>", with the layer of a stack."""
    scalars = {}
    for block, norm in norms.items():
        if getattr(norm, "ndim", 0):
            width = len(str(len(norm) - 1))
            scalars |= {f"{prefix}/{block}/{i:0{width}d}": float(x) for i, x in enumerate(norm)}
        else:
            scalars[f"{prefix}/{block}"] = float(norm)
    return scalars
