"""Take one step of a run again and look into it: what was in the batch, which gradients broke.

The step is a function of the checkpoint before it and of the stream: the same numbers come out,
bit for bit on the mesh it ran on, to float tolerance elsewhere. The run's folder does not change.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import track

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.core.files import read_json_lines
from ssljax.core.tree import named_leaves
from ssljax.core.types import Batch, TrainState
from ssljax.data.skips import position
from ssljax.data.stream import Stream
from ssljax.runs.build import Method, build_method, build_stream, build_train_step
from ssljax.runs.config import checkpoint_root, with_defaults
from ssljax.runs.workdir import REJECTED, check_same_data, read_skips
from ssljax.train.checkpoint import load_step, newest_sound, step_dirs
from ssljax.train.state import abstract_state, init_state, with_views
from ssljax.train.step import gradient_sums


@dataclasses.dataclass(frozen=True)
class Replay:
    """A step taken again.

    step, batch:  its number, and the batch of the stream that it read
    since:        the checkpoint it was reached from, 0 for a fresh start
    loss, grad_norm, rejected: as the step reports them
    recorded:     what rejected.jsonl says of it, None if it was not rejected then
    gradients:    weight -> {"norm", "largest", "not_finite"}
    rows:         loss of each row, where rows do not depend on each other
    arrays:       the host's batch
    """

    step: int
    batch: int
    since: int
    loss: float
    grad_norm: float
    rejected: bool
    recorded: Mapping[str, Any] | None
    gradients: Mapping[str, Mapping[str, float]]
    rows: np.ndarray | None
    arrays: Mapping[str, np.ndarray]

    @property
    def same(self) -> bool | None:
        """Say whether loss and gradient norm are those recorded; None where none are."""
        if self.recorded is None:
            return None
        pairs = [(self.loss, self.recorded["loss"]), (self.grad_norm, self.recorded["grad_norm"])]
        return all(a == b or (np.isnan(a) and np.isnan(b)) for a, b in pairs)


def inspect_gradients(grads: Any) -> dict[str, dict[str, float]]:
    """Return norm, largest magnitude and count of values that are not finite, by weight."""
    def one(x: jax.Array) -> dict[str, jax.Array]:
        finite = jnp.isfinite(x)
        kept = jnp.where(finite, x, 0)
        return {"norm": jnp.sqrt(jnp.sum(kept * kept)), "largest": jnp.max(jnp.abs(kept)),
                "not_finite": jnp.sum(~finite)}

    reports = jax.device_get({n: jax.jit(one)(g) for n, g in named_leaves(grads).items()})
    return {name: {k: float(v) for k, v in report.items()} for name, report in reports.items()}


def row_losses(method: Method, compute_dtype: str, state: TrainState, batch: Batch,
               ) -> np.ndarray | None:
    """Return the loss of each row, float32 [B]; None where rows depend on each other."""
    if method.objective.coupled:
        return None
    sums = gradient_sums(method.objective, compute_dtype)

    @jax.jit
    def one(params: Any, extra: Any, row: Batch, key: jax.Array) -> jax.Array:
        (total, weight, _, _), _ = sums(params, extra, row, key)
        return total / jnp.where(weight > 0, weight, 1)

    # On one device, a row at a time: what is wrong with one cannot reach another.
    params, extra, rows = jax.device_get((state.params, state.extra, dict(batch)))
    key = jax.random.key(0)
    count = len(rows["id"])
    return np.array([float(one(params, extra, {n: x[i:i + 1] for n, x in rows.items()}, key))
                     for i in track(range(count), "looking at rows", transient=True)])


def state_before(method: Method, config: Mapping[str, Any], workdir: pathlib.Path, step: int,
                 stream: Stream, mesh: jax.sharding.Mesh | None) -> TrainState:
    """Return the state of the newest checkpoint below `step`, or a fresh one.

    Raises:
        CheckpointError: the data is not what the run was trained on.
    """
    root = checkpoint_root(workdir, config)
    since, _ = newest_sound(root, before=step)
    if since is None:
        return init_state(method.init, method.key, mesh, method.layout)
    wanted = abstract_state(method.init, method.key, mesh, method.layout)
    state, items = load_step(step_dirs(root)[since], wanted)
    check_same_data(items["data"]["fingerprint"], stream.fingerprint())
    return state


def replay(workdir: pathlib.Path, step: int) -> Replay:
    """Take step `step` of a run again, from the newest checkpoint before it.

    Raises:
        ConfigError: not a run, or it has no such step.
        CheckpointError: the data has changed, or the checkpoint is not of this config.
    """
    told = workdir / "config.json"
    if not told.is_file():
        raise ConfigError(f"{workdir} is not a run: it has no config.json. Give the --workdir of "
                          "`ssljax pretrain`.")
    config = with_defaults(json.loads(told.read_text()))
    if not 1 <= step <= config["total_steps"]:
        raise ConfigError(f"--step {step}; expected 1 to {config['total_steps']}.")
    method = build_method(config)
    stream = build_stream(config, method.pretext)
    mesh = sharding.make_mesh(config["mesh"]) if jax.device_count() > 1 else None
    skips = read_skips(workdir)
    train_step = build_train_step(config, method)

    def rows(step: int) -> dict[str, np.ndarray]:
        return stream.host_rows(position(step - 1, skips), 0, 1)

    with sharding.use_mesh(mesh):
        state = state_before(method, config, workdir, step, stream, mesh)
        since, take = int(state.step), jax.jit(train_step)
        for number in track(range(since + 1, step), "stepping there", transient=True):
            state, _ = take(state, sharding.place_whole(mesh, rows(number)))
        arrays = rows(step)
        batch = sharding.place_whole(mesh, arrays)
        _, metrics = take(state, batch)
        seen = with_views(method.pretext.views, state.key, batch)
        grads = gradients_of(method, config["compute_dtype"], state, seen)
        report = inspect_gradients(grads)
    recorded = [r for r in read_json_lines(workdir / REJECTED) if r["step"] == step]
    return Replay(
        step=step, batch=position(step - 1, skips), since=since, loss=float(metrics["loss"]),
        grad_norm=float(metrics["grad_norm"]), rejected=bool(metrics["in_a_row"] > 0),
        recorded=recorded[-1] if recorded else None, gradients=report,
        rows=row_losses(method, config["compute_dtype"], state, seen), arrays=arrays)


def gradients_of(method: Method, compute_dtype: str, state: TrainState, batch: Batch) -> Any:
    """Return the gradients of a batch that has its views, as the step takes them."""
    sums: Callable[..., Any] = gradient_sums(method.objective, compute_dtype)
    key = jax.random.fold_in(state.key, state.step)
    (_, weight, grads, _), _ = jax.jit(sums)(state.params, state.extra, batch, key)
    return jax.tree.map(lambda g: g / jnp.where(weight > 0, weight, 1), grads)
