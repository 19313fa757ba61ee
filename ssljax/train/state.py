"""The training state, created already sharded."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from ssljax.core import sharding
from ssljax.core.types import Batch, Key, Objective, TrainState
from ssljax.train.guard import start
from ssljax.train.layout import Layout, state_layout

# A tag no step number reaches, so that views never share a key with a step.
VIEWS = 0xFFFF_FFFF


def example_keys(key: Key, batch: Batch) -> Key:
    """Return the key [B] of each example: a function of the run's key, the epoch and the id.

    Views are therefore the same on any number of devices and after any resume.
    """
    def one(epoch: jax.Array, id: jax.Array) -> Key:
        fold = jax.random.fold_in
        return fold(fold(fold(fold(key, VIEWS), epoch), id[0]), id[1])

    return jax.vmap(one)(batch["epoch"], batch["id"])


def with_views(views: Callable, key: Key, batch: Batch) -> Batch:
    """Return the batch as the objective reads it: `views` of every example, on its own device."""
    keys = jax.random.key_data(example_keys(key, batch))

    def one(data: jax.Array, example: Batch) -> Batch:
        return views(jax.random.wrap_key_data(data), example)

    return {**batch, **sharding.per_example(one)(keys, dict(batch))}


def blank_batch(spec: Mapping[str, tuple[tuple[int, ...], str]], batch_size: int) -> Batch:
    """Return a batch of zeros with the arrays of a pretext's spec and the stream's epoch."""
    rows = {name: ((batch_size, *shape), dtype) for name, (shape, dtype) in spec.items()}
    rows["epoch"] = ((batch_size,), "int32")
    return {name: sharding.shard(jnp.zeros(shape, dtype), sharding.BATCH)
            for name, (shape, dtype) in rows.items()}


def init_fn(objective: Objective, tx: optax.GradientTransformation, views: Callable,
            spec: Mapping[str, tuple[tuple[int, ...], str]], batch_size: int,
            ) -> Callable[[Key], TrainState]:
    """Return key -> TrainState at step 0."""
    def init(key: Key) -> TrainState:
        k_init, k_run = jax.random.split(key)
        batch = with_views(views, k_run, blank_batch(spec, batch_size))
        params, extra = objective.init(k_init, batch)
        return TrainState(jnp.int32(0), params, tx.init(params), extra, {}, k_run, start())

    return init


def state_shardings(shapes: TrainState, mesh: jax.sharding.Mesh | None,
                    layout: Layout | None = None) -> TrainState:
    """Return the sharding of every leaf of a state: by weight name, or the only device."""
    if mesh is None:
        only = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        return jax.tree.map(lambda _: only, shapes)
    return state_layout(mesh, shapes, layout or Layout())


def abstract_state(init: Callable[[Key], TrainState], key: Key,
                   mesh: jax.sharding.Mesh | None, layout: Layout | None = None) -> TrainState:
    """Return the state as ShapeDtypeStructs with shardings: what a checkpoint is loaded into."""
    shapes = jax.eval_shape(init, key)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
                        shapes, state_shardings(shapes, mesh, layout))


def init_state(init: Callable[[Key], TrainState], key: Key,
               mesh: jax.sharding.Mesh | None, layout: Layout | None = None) -> TrainState:
    """Return the initial state, each leaf made on the devices that will hold it.

    jit(tx.init)(params) would return a replicated optimizer state on Auto meshes, silently.
    """
    if mesh is None:
        return jax.jit(init)(key)
    shapes = jax.eval_shape(init, key)
    return jax.jit(init, out_shardings=state_shardings(shapes, mesh, layout))(key)
