"""Rules that speak of a layer, on weights that stack many.

The blocks of a network are one array with the layer as its first axis (nn/transformer.py), so that
a norm over the array would mix layers that LARS, LAMB and Adafactor treat each by itself.
"""

from typing import Any

import jax
import optax

from ssljax.core.sharding import automatic
from ssljax.core.tree import entry_name
from ssljax.core.types import PyTree

STACK = "blocks"        # the module whose weights have the layer as their first axis


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
