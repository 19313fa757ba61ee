"""Rules that speak of a layer, on weights that stack many.

The blocks of a network are one array with the layer as its first axis (nn/transformer.py), so that
a norm over the array would mix layers that LARS, LAMB and Adafactor treat each by itself.
"""

import re
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import automatic
from ssljax.core.tree import entry_name
from ssljax.core.types import PyTree

STACK = "blocks"        # the module whose weights have the layer as their first axis
TOWER = "encoder"       # the part of a method's parameters whose lower layers move slower
EMBEDDING = r"([wb]_patch|\w*tokens?|\w*embedding)"      # what lies below all blocks of a tower


def is_stacked(path: tuple[Any, ...]) -> bool:
    """Say whether the weight at a path holds many layers."""
    return STACK in map(entry_name, path[:-1])


def per_layer(scale: optax.GradientTransformation) -> optax.GradientTransformation:
    """Return a stateless rule applied to every layer of stacked weights by itself.

    Third parties' norms flatten, which Explicit meshes refuse of sharded arrays: the compiler
    lays them out.
    """
    def one(update: jax.Array, param: jax.Array) -> jax.Array:
        return scale.update(update, optax.EmptyState(), param)[0]

    def leaf(path: tuple[Any, ...], update: jax.Array, param: jax.Array) -> jax.Array:
        return (jax.vmap(one) if is_stacked(path) else one)(update, param)

    def move(updates: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        return jax.tree_util.tree_map_with_path(leaf, updates, params), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), automatic(move))


def slower_below(decay: float) -> optax.GradientTransformation:
    """Scale the step of a block of the encoder by `decay` for every layer above it.

    The layer-wise learning rates of BEiT, https://arxiv.org/abs/2106.08254 (section 3.3), MAE's
    fine-tuning and DINOv2: decay**(n - i) for block i of n, decay**(n + 1) for what embeds, 1 for
    heads and the last norm. Scaling the whole step scales its weight decay too, as a learning rate
    does.
    """
    def move(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        del params
        leaves = jax.tree_util.tree_leaves_with_path(updates)
        depths = {len(x) for path, x in leaves if in_tower(path) and is_stacked(path)}
        if len(depths) != 1:
            raise ConfigError(f"optim.layer_decay scales the blocks of one encoder, but stacks of "
                              f"{sorted(depths)} blocks were found; leave layer_decay out.")
        depth, = depths

        def leaf(path: tuple[Any, ...], x: jax.Array) -> jax.Array:
            if in_tower(path) and is_stacked(path):
                factors = decay ** (depth - jnp.arange(depth, dtype=jnp.float32))
                return x * factors.reshape(-1, *(1,) * (x.ndim - 1)).astype(x.dtype)
            below = in_tower(path) and re.fullmatch(EMBEDDING, entry_name(path[-1]))
            return x * decay ** (depth + 1) if below else x

        return jax.tree_util.tree_map_with_path(leaf, updates), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), move)


def in_tower(path: tuple[Any, ...]) -> bool:
    """Say whether the weight at a path belongs to a method's encoder."""
    return entry_name(path[0]) == TOWER
