"""The layouts of all weights, from nn's table and every plug-in's, and of a whole state."""

import importlib
import pkgutil
from typing import Any

import jax

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import Axes, named_sharding, shardings, with_layers
from ssljax.core.tree import entry_name, leaf_name
from ssljax.core.types import TrainState
from ssljax.nn.partition import PARTITION
from ssljax.optim.layout import Weight, axes_of


def partition() -> dict[str, tuple[Axes, ...]]:
    """Return weight name -> mesh axes of its last dimensions.

    Raises:
        ConfigError: two files lay one name out differently.
    """
    merged = dict(PARTITION)
    for package in ("ssljax.models", "ssljax.objectives"):
        home = importlib.import_module(package)
        for info in pkgutil.iter_modules(home.__path__, f"{package}."):
            own = getattr(importlib.import_module(info.name), "PARTITION", {})
            for name, axes in own.items():
                if merged.setdefault(name, axes) != axes:
                    raise ConfigError(f'{info.name} lays weight "{name}" out as {axes}; another '
                                      f"file as {merged[name]}. Rename one of the two.")
    return merged


def state_layout(mesh: jax.sharding.Mesh, state: TrainState) -> TrainState:
    """Return the NamedSharding of every leaf of a state.

    Weights by their name in `partition`; the optimizer's leaves by the weight whose whole path ends
    theirs, see optim/layout.py.

    Raises:
        ConfigError: a leaf of two or more dimensions has no layout, or it does not divide.
    """
    table = partition()
    weights = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.params):
        axes = with_layers(path, leaf.ndim, table.get(leaf_name(path), (None,) * leaf.ndim))
        weights["/".join(map(entry_name, path))] = Weight(leaf.shape, axes)

    def one(path: tuple[Any, ...], leaf: Any) -> jax.sharding.NamedSharding:
        name = "/".join(map(entry_name, path))
        return named_sharding(mesh, name, leaf, axes_of(name, leaf.shape, weights))

    moments = jax.tree_util.tree_map_with_path(one, state.opt_state)
    others = shardings(mesh, table, state._replace(opt_state=()))
    return others._replace(opt_state=moments)
