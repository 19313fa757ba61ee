"""The layouts of all weights, from nn's table and every plug-in's, and of a whole state.

ZeRO-1 (Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054): gradients, the optimizer's state
and the update are split over data too, and parameters are gathered after it. It is a property of
the state, not of a model: moments and update of a matrix lie along (fsdp, data) where its weight
lies along fsdp, or along data on the first dimension that divides.
"""

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Iterable, Mapping
from typing import Any

import jax

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import Axes, named_sharding, shard, shardings, with_layers
from ssljax.core.tree import entry_name, leaf_name
from ssljax.core.types import PyTree, TrainState
from ssljax.nn.partition import PARTITION
from ssljax.optim.layout import Weight, axes_of

Table = dict[str, tuple[Axes, ...]]


def partition(others: Iterable[str] = ()) -> Table:
    """Return weight name -> mesh axes of its last dimensions.

    Args:
        others: modules outside ssljax with a PARTITION of their own: plug-ins by dotted name.

    Raises:
        ConfigError: two files lay one name out differently.
    """
    names = [info.name for package in ("ssljax.models", "ssljax.families", "ssljax.objectives")
             for info in pkgutil.iter_modules(importlib.import_module(package).__path__,
                                              f"{package}.")]
    merged = dict(PARTITION)
    for module in (*names, *others):
        for name, axes in getattr(importlib.import_module(module), "PARTITION", {}).items():
            if merged.setdefault(name, axes) != axes:
                raise ConfigError(f'{module} lays weight "{name}" out as {axes}; another file as '
                                  f"{merged[name]}. Rename one of the two.")
    return merged


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the state of a run lies on its mesh.

    table: weight name -> mesh axes of its last dimensions
    zero1: whether the optimizer's state and update are split over data too
    """

    table: Table = dataclasses.field(default_factory=partition)
    zero1: bool = False

    def weight_axes(self, path: tuple[Any, ...], leaf: Any) -> tuple[Axes, ...]:
        """Return the mesh axes of all dimensions of the weight at a path."""
        axes = self.table.get(leaf_name(path), (None,) * leaf.ndim)
        return with_layers(path, leaf.ndim, axes)

    def moment_axes(self, path: tuple[Any, ...], leaf: Any, sizes: Mapping[str, int],
                    ) -> tuple[Axes, ...]:
        """Return the mesh axes of a weight's gradient and moments; `sizes` are the mesh's."""
        axes = self.weight_axes(path, leaf)
        # A vector's moments are nothing, and each would cost a collective of its own.
        matrix = len(self.table.get(leaf_name(path), ())) > 1
        return over_data(axes, leaf.shape, sizes) if self.zero1 and matrix else axes

    def as_weights(self, tree: PyTree) -> PyTree:
        """Lay a tree of weights out as the parameters are, where this is traced."""
        return constrained(tree, self.weight_axes)

    def as_moments(self, tree: PyTree) -> PyTree:
        """Lay a tree of weights or gradients out as the optimizer's moments are."""
        sizes = jax.sharding.get_abstract_mesh().shape
        return constrained(tree, lambda path, leaf: self.moment_axes(path, leaf, sizes))


def constrained(tree: PyTree, axes: Any) -> PyTree:
    """Lay every leaf out along axes(path, leaf); nothing without a mesh."""
    if jax.sharding.get_abstract_mesh().empty:
        return tree
    return jax.tree_util.tree_map_with_path(lambda path, x: shard(x, *axes(path, x)), tree)


def over_data(axes: tuple[Axes, ...], shape: tuple[int, ...], sizes: Mapping[str, int],
              ) -> tuple[Axes, ...]:
    """Return `axes` with data added behind fsdp, or on the first dimension that divides.

    A weight none of whose dimensions divides stays as it is: every data device updates it whole.
    """
    names = [(axis,) if isinstance(axis, str) else axis or () for axis in axes]
    order = sorted(range(len(axes)), key=lambda i: "fsdp" not in names[i])
    for i in order:
        ways = math.prod(sizes[n] for n in (*names[i], "data"))
        if sizes["data"] > 1 and shape[i] % ways == 0:
            return (*axes[:i], (*names[i], "data"), *axes[i + 1:])
    return axes


def state_layout(mesh: jax.sharding.Mesh, state: TrainState, layout: Layout) -> TrainState:
    """Return the NamedSharding of every leaf of a state.

    Weights by their name in the table; the optimizer's leaves by the weight whose whole path ends
    theirs, see optim/layout.py.

    Raises:
        ConfigError: a leaf of two or more dimensions has no layout, or it does not divide.
    """
    weights = {"/".join(map(entry_name, path)):
               Weight(leaf.shape, layout.moment_axes(path, leaf, mesh.shape))
               for path, leaf in jax.tree_util.tree_leaves_with_path(state.params)}

    def one(path: tuple[Any, ...], leaf: Any) -> jax.sharding.NamedSharding:
        name = "/".join(map(entry_name, path))
        return named_sharding(mesh, name, leaf, axes_of(name, leaf.shape, weights))

    moments = jax.tree_util.tree_map_with_path(one, state.opt_state)
    others = shardings(mesh, layout.table, state._replace(opt_state=()))
    return others._replace(opt_state=moments)
