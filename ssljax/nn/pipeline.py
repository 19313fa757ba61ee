"""A stack of layers as a pipeline over the stage axis: a circular schedule in one scan.

GPipe (Huang et al. 2019, https://arxiv.org/abs/1811.06965) is the case of one repeat; with more,
every stage holds several shorter groups of layers and microbatches go round as often (the
interleaved schedule of Narayanan et al. 2021, https://arxiv.org/abs/2104.04473). The idle fraction
is (S - 1) / (M V + S - 1) for S stages, M microbatches and V repeats. Only stage and data are
taken: the layers are ordinary code that the other axes lay out.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from ssljax.core.errors import ConfigError
from ssljax.core.local import reducible
from ssljax.core.sharding import (
    BATCH,
    Axes,
    axis_size,
    is_explicit,
    reshape,
    shard,
    spec,
)

ROWS = tuple(axis for axis in BATCH if axis != "stage")
Stage = Callable[[Any, jax.Array, Any], tuple[jax.Array, Any]]


def check_pipeline(depth: int, batch: int, stages: int, microbatches: int, repeats: int) -> None:
    """Raise ConfigError unless the layers and the rows of a batch fill a pipeline."""
    if depth % (stages * repeats):
        raise ConfigError(f"{depth} layers do not divide over {stages} stages x {repeats} repeats "
                          "(pipeline_repeats); change depth, the mesh or the repeats.")
    if microbatches < stages:
        raise ConfigError(f"pipeline_microbatches = {microbatches} leaves some of {stages} stages "
                          f"idle at all times; use at least {stages}.")
    ways = microbatches
    for axis in ROWS:
        ways *= axis_size(axis)
    if batch % ways:
        raise ConfigError(
            f"A batch of {batch} rows does not divide into {microbatches} pipeline microbatches "
            f"over {ways // microbatches} batch devices; use a multiple of {ways} rows, or fewer "
            "pipeline_microbatches.")


def pipeline(stage: Stage, weights: Any, x: jax.Array, rows: Any, *, microbatches: int,
             repeats: int) -> tuple[jax.Array, Any]:
    """Send x through all layers, a group of consecutive ones at a time.

    Args:
        stage: (weights [l, ...], x [b, L, D], rows) -> (x, sums) of a group of l layers; sums is a
            tree of float32 scalars that add over rows and layers.
        weights: tree of [depth, ...], the first axis over stage. More than one repeat moves them
            between stages once a step, because they are stored in the order of the layers.
        x: [B, L, D], laid out along (BATCH, "context", None).
        rows: tree of int32 [B, L], what the layers read of each token beside x.
        microbatches: M, at least the stages and a divisor of the rows; 0 is as many as stages.
        repeats: V.

    Returns:
        [B, L, D] laid out as x, and the sums.

    Raises:
        ConfigError: layers or rows do not divide.
    """
    stages, depth = axis_size("stage"), jax.tree.leaves(weights)[0].shape[0]
    microbatches = microbatches or stages
    check_pipeline(depth, x.shape[0], stages, microbatches, repeats)
    run = functools.partial(circulate, stage, stages, microbatches, repeats)
    if is_explicit():
        # At the border of a shard_map over some axes, jax 0.10.2 gathers whatever lies along the
        # other Explicit axes: 1.2 MB instead of nothing in the tests' smallest network.
        layout = (spec(BATCH, "context", None), PartitionSpec())
        run = jax.sharding.auto_axes(run, out_sharding=layout)
    return run(weights, x, rows)


def circulate(stage: Stage, stages: int, microbatches: int, repeats: int, weights: Any,
              x: jax.Array, rows: Any) -> tuple[jax.Array, Any]:
    """Run `pipeline` where no axis is Explicit."""
    weights = jax.tree.map(lambda w: grouped(w, repeats), weights)
    xs = split(x, microbatches, ("context", None))
    rows = jax.tree.map(lambda r: split(r, microbatches, ("context",)), rows)

    def run(weights: Any, xs: jax.Array, rows: Any) -> tuple[jax.Array, Any]:
        mine, ring = jax.lax.axis_index("stage"), [(i, (i + 1) % stages) for i in range(stages)]
        xs = varying(xs, "stage")
        # Gradients add up on each device and are reduced over data once, not in every tick.
        weights = jax.tree.map(lambda w: varying(w, "data"), weights)

        def tick(carry: Any, t: jax.Array) -> tuple[Any, Any]:
            """Unit of work u = t - s of stage s: repeat u // M of microbatch u % M."""
            waiting, x = carry
            unit = jnp.clip(t - mine, 0, microbatches * repeats - 1)
            repeat, micro = unit // microbatches, unit % microbatches
            x = jnp.where(mine == 0, pick(waiting, micro), x)
            x, sums = stage(jax.tree.map(lambda w: pick(w, repeat), weights), x,
                            jax.tree.map(lambda r: pick(r, micro), rows))
            sums = jax.tree.map(lambda s: jnp.where(unit == t - mine, s, 0), sums)
            x = jax.lax.ppermute(x, "stage", ring)
            # The first stage has received what the last one finished: the next repeat's input,
            # and at last the output.
            received = jax.lax.dynamic_update_index_in_dim(
                waiting, x, (t - stages + 1) % microbatches, 0)
            waiting = jnp.where((mine == 0) & (t >= stages - 1), received, waiting)
            return (waiting, x), sums

        ticks = jnp.arange(microbatches * repeats + stages - 1)
        (out, _), sums = jax.lax.scan(tick, (xs, jnp.zeros_like(xs[0])), ticks)
        # psum_scatter of Explicit operands and all_to_all on Auto meshes both fail in jax 0.10.
        out = jax.lax.psum(reducible(jnp.where(mine == 0, out, 0)), "stage").astype(xs.dtype)
        return out, jax.lax.psum(jax.tree.map(jnp.sum, sums), ("stage", "data"))

    over_data = PartitionSpec(None, "data")
    out, sums = jax.shard_map(
        run, in_specs=(PartitionSpec(None, "stage"), over_data, over_data),
        out_specs=(over_data, PartitionSpec()), axis_names={"stage", "data"})(weights, xs, rows)
    out = reshape(out.swapaxes(0, 1), x.shape, (ROWS, "context", None))
    return shard(out, BATCH, "context", None), sums


def varying(x: jax.Array, axis: str) -> jax.Array:
    """Return x as a value of its own on each device along `axis`; its gradient is their sum."""
    return jax.lax.pcast(reducible(x), axis, to="varying").astype(x.dtype)


def pick(x: jax.Array, index: jax.Array) -> jax.Array:
    """Return x[index] of the first axis."""
    return jax.lax.dynamic_index_in_dim(x, index, keepdims=False)


def split(x: jax.Array, parts: int, axes: tuple[Axes, ...]) -> jax.Array:
    """[B, ...] -> [parts, B / parts, ...] on every stage; `axes` lay out the other dimensions."""
    rows = (x.shape[0] // parts, parts, *x.shape[1:])
    return reshape(shard(x, ROWS, *axes), rows, (ROWS, None, *axes)).swapaxes(0, 1)


def grouped(weight: jax.Array, repeats: int) -> jax.Array:
    """[depth, ...] over stage -> [V, depth / V, ...], the second axis over stage."""
    shape = (repeats, weight.shape[0] // repeats, *weight.shape[1:])
    return jnp.reshape(weight, shape)
