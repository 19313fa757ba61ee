"""Lay arrays out on the device mesh; one code path for no mesh, Auto and Explicit axes.

The strategy is the shape of the mesh: stage splits the blocks into a pipeline, data replicates,
fsdp shards weights (ZeRO-3), expert shards experts, context shards the sequence, tensor shards
heads and hidden units. Outside the pipeline and the experts, stage and expert are two more batch
axes, so that embedding, head and loss are never computed twice. Every axis is in every mesh, of
size 1 where unused, so specs never change. Model code names axes, never strategies.
"""

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ssljax.core.errors import ConfigError, nearest
from ssljax.core.tree import entry_name, leaf_name

AXES = ("stage", "data", "fsdp", "expert", "context", "tensor")     # slowest links first
BATCH = ("data", "fsdp", "expert", "stage")
STACK = "blocks"        # the module whose weights have the layer as their first axis
Axes = str | tuple[str, ...] | None


def mesh_sizes(devices: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the size of every mesh axis; one may be -1, meaning the devices that are left.

    Raises:
        ConfigError: unknown axis, more than one -1, or sizes that do not multiply to `devices`.
    """
    for name in sizes:
        if name not in AXES:
            raise ConfigError(f'mesh has no axis "{name}"; {nearest(name, AXES)}')
    full = {a: sizes.get(a, 1) for a in AXES}
    free = [a for a, n in full.items() if n == -1]
    bad = {a: n for a, n in full.items() if n < 1 and n != -1}
    if bad or len(free) > 1:
        raise ConfigError(f"mesh {dict(sizes)}: sizes are at least 1, and one may be -1.")
    if free:
        full[free[0]] = max(1, devices // math.prod(n for n in full.values() if n != -1))
    if math.prod(full.values()) != devices:
        raise ConfigError(f"mesh {full} needs {math.prod(full.values())} devices; {devices} are "
                          "visible. Set one axis to -1 to use them all.")
    return full


def make_mesh(sizes: Mapping[str, int], axis_type: AxisType = AxisType.Explicit,
              ) -> jax.sharding.Mesh:
    """Return the mesh over all devices with the axes of AXES, in that order."""
    full = mesh_sizes(jax.device_count(), sizes)
    return jax.make_mesh(tuple(full.values()), AXES, axis_types=(axis_type,) * len(AXES))


def use_mesh(mesh: jax.sharding.Mesh | None) -> contextlib.AbstractContextManager:
    """Enter `mesh` for the code that follows; None leaves everything on one device."""
    return contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh)


def is_explicit() -> bool:
    """Say whether the axes that no shard_map has taken are Explicit.

    Inside a partial shard_map the mesh is (Manual, Explicit) and `are_all_axes_explicit` is False.
    """
    mesh = jax.sharding.get_abstract_mesh()
    kinds = {t for t in mesh.axis_types if t != AxisType.Manual}
    return not mesh.empty and kinds == {AxisType.Explicit}


def spec(*axes: Axes) -> PartitionSpec:
    """Return the PartitionSpec of `axes`, without those that an enclosing shard_map has taken."""
    manual = set(jax.sharding.get_abstract_mesh().manual_axes)

    def keep(axis: Axes) -> Axes:
        names = (axis,) if isinstance(axis, str) else axis or ()
        return tuple(n for n in names if n not in manual) or None

    return PartitionSpec(*map(keep, axes))


def shard(x: jax.Array, *axes: Axes) -> jax.Array:
    """Lay `x` out along mesh `axes`, one per dimension; nothing without a mesh."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.are_all_axes_manual:
        return x
    if is_explicit():
        return jax.sharding.reshard(x, spec(*axes))
    return jax.lax.with_sharding_constraint(x, spec(*axes))


def einsum(subscripts: str, *operands: jax.Array, out: tuple[Axes, ...],
           dtype: jax.typing.DTypeLike | None = None) -> jax.Array:
    """Return jnp.einsum, summed in `dtype`, with its result laid out along the mesh axes `out`."""
    if is_explicit():
        return jnp.einsum(subscripts, *operands, out_sharding=spec(*out),
                          preferred_element_type=dtype)
    return shard(jnp.einsum(subscripts, *operands, preferred_element_type=dtype), *out)


def take(table: jax.Array, ids: jax.Array, out: tuple[Axes, ...]) -> jax.Array:
    """Return table[ids] with its result laid out along the mesh axes `out`."""
    if is_explicit():
        return table.at[ids].get(out_sharding=spec(*out))
    return shard(table[ids], *out)


def reshape(x: jax.Array, shape: tuple[int, ...], out: tuple[Axes, ...]) -> jax.Array:
    """Return x reshaped, with its result laid out along the mesh axes `out`."""
    if is_explicit():
        return jnp.reshape(x, shape, out_sharding=spec(*out))
    return shard(jnp.reshape(x, shape), *out)


def split_batch(x: jax.Array, parts: int) -> jax.Array:
    """[B, ...] -> [parts, B / parts, ...]; split last, then swap: the sharded axis stays whole.

    The result of the reshape is named because Explicit meshes would otherwise deal the tuple of
    batch axes out over both new dimensions.
    """
    rows = (x.shape[0] // parts, parts, *x.shape[1:])
    return reshape(x, rows, (BATCH, *(None,) * (len(rows) - 1))).swapaxes(0, 1)


def axis_size(name: str) -> int:
    """Return the size of a mesh axis where this is traced; 1 without a mesh."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else mesh.shape[name]


def whole_along(tree: Any, axis: str) -> Any:
    """Return arrays that are no longer split along a mesh axis; Explicit types must say so.

    Even an axis of one device counts in a type: indexing a dimension that names it fails.
    """
    if not is_explicit():
        return tree

    def one(x: jax.Array) -> jax.Array:
        names = [(a,) if isinstance(a, str) else a or () for a in jax.typeof(x).sharding.spec]
        return shard(x, *(tuple(n for n in group if n != axis) or None for group in names))

    return jax.tree.map(one, tree)


def per_example(function: Callable[..., Any]) -> Callable[..., Any]:
    """Vmap `function` over the batch, each device on its own rows and without communication.

    A shard_map over every axis lets the function use any operation (gathers, sorts, dynamic
    slices) that sharding types would refuse.
    """
    mapped = jax.vmap(function)

    def apply(*trees: Any) -> Any:
        mesh = jax.sharding.get_abstract_mesh()
        if mesh.empty or mesh.are_all_axes_manual:
            return mapped(*trees)
        return jax.shard_map(mapped, in_specs=spec(BATCH), out_specs=spec(BATCH),
                             axis_names=set(mesh.axis_names) - set(mesh.manual_axes))(*trees)

    return apply


def automatic(update: Callable[..., Any]) -> Callable[..., Any]:
    """Let the compiler lay out what happens inside `update`, on Explicit meshes too.

    For third parties' optimizers, which name no layouts: (grads, state, params) -> (updates,
    state), each result laid out as its argument was.
    """
    def apply(grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        if not is_explicit():
            return update(grads, state, params)
        layout = jax.tree.map(lambda x: jax.typeof(x).sharding.spec, (grads, state))
        return jax.sharding.auto_axes(update, out_sharding=layout)(grads, state, params)

    return apply


def place_batch(mesh: jax.sharding.Mesh | None, batch: Any) -> Any:
    """Put this process's rows of a batch on its devices: leaves become global arrays."""
    if mesh is None:
        return jax.tree.map(jnp.asarray, batch)
    rows = NamedSharding(mesh, PartitionSpec(BATCH))
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(rows, x), batch)


def mesh_of(tree: Any) -> jax.sharding.Mesh | None:
    """Return the mesh that a tree's arrays lie on; None where they lie on one device."""
    layout = getattr(jax.tree.leaves(tree)[0], "sharding", None)
    return layout.mesh if isinstance(layout, NamedSharding) else None


def place_whole(mesh: jax.sharding.Mesh | None, batch: Any) -> Any:
    """Put a batch that every process holds whole on the devices: each takes its rows of it."""
    if mesh is None:
        return jax.tree.map(jnp.asarray, batch)
    rows = NamedSharding(mesh, PartitionSpec(BATCH))
    return jax.tree.map(
        lambda x: jax.make_array_from_callback(x.shape, rows, lambda index: x[index]), batch)


def shardings(mesh: jax.sharding.Mesh, partition: Mapping[str, tuple[Axes, ...]], tree: Any) -> Any:
    """Return the NamedSharding of each leaf of `tree` by its name; axes in front stay whole.

    Args:
        mesh: the device mesh.
        partition: weight name -> mesh axes of its last dimensions.
        tree: arrays or ShapeDtypeStructs; the last dict key or field on a leaf's path is its name.

    Raises:
        ConfigError: a floating leaf of two or more dimensions has no entry, or a sharded
            dimension is not a multiple of its axes.
    """
    def one(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        axes = partition.get(leaf_name(path))
        axes = None if axes is None else with_layers(path, leaf.ndim, axes)
        return named_sharding(mesh, jax.tree_util.keystr(path), leaf, axes)

    return jax.tree_util.tree_map_with_path(one, tree)


def with_layers(path: tuple[Any, ...], ndim: int, axes: tuple[Axes, ...]) -> tuple[Axes, ...]:
    """Return the mesh axes of all dimensions of a weight from those of its last ones.

    Weights under STACK have the layer as the first axis, which is split over stage.
    """
    front = ndim - len(axes)
    layers = "stage" if STACK in map(entry_name, path[:-1]) else None
    return (layers, *(None,) * (front - 1), *axes) if front > 0 else axes


def named_sharding(mesh: jax.sharding.Mesh, name: str, leaf: Any,
                   axes: tuple[Axes, ...] | None) -> NamedSharding:
    """Return the NamedSharding of one leaf; `axes` are those of its last dimensions.

    Raises:
        ConfigError: as `shardings` does; None is allowed for what has less than two dimensions.
    """
    if axes is None:
        if leaf.ndim >= 2 and jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ConfigError(f'No layout for weight "{name}" of shape {leaf.shape}; add its name '
                              "to PARTITION in its file.")
        return NamedSharding(mesh, PartitionSpec())
    full = (*(None,) * (leaf.ndim - len(axes)), *axes)
    for size, axis in zip(leaf.shape, full, strict=True):
        names = (axis,) if isinstance(axis, str) else axis or ()
        ways = math.prod(mesh.shape[n] for n in names)
        if size % ways:
            raise ConfigError(f'Weight "{name}" of shape {leaf.shape}: {size} does not divide over '
                              f"{ways} devices of mesh axis {axis}; change the mesh or the width.")
    return NamedSharding(mesh, PartitionSpec(*full))
