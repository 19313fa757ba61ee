"""Config to trained state: build, restore or start, train, save; the same command continues."""

import importlib.metadata
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
from absl import logging

from ssljax.core import sharding
from ssljax.core.errors import CheckpointError, ConfigError
from ssljax.core.files import write_json
from ssljax.core.types import TrainState
from ssljax.data.packing import PackedSource
from ssljax.data.pipeline import batches
from ssljax.data.stream import Stream
from ssljax.runs.build import Method, build_evaluators, build_method, build_stream, work_per_step
from ssljax.runs.config import check_run, config_differences
from ssljax.runs.distributed import first_process_decides
from ssljax.runs.tracking import make_writers
from ssljax.train.checkpoint import Checkpoints
from ssljax.train.interrupt import stop_requests
from ssljax.train.loop import Schedule, train
from ssljax.train.state import abstract_state, init_state
from ssljax.train.step import make_train_step

VERSIONED = ("ssljax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of the packages whose change could change numbers."""
    return {name: importlib.metadata.version(name) for name in VERSIONED}


def check_devices(config: Mapping[str, Any]) -> None:
    """Raise ConfigError if the mesh or the batch cannot be on the devices that are visible."""
    sizes = sharding.mesh_sizes(jax.device_count(), config["mesh"])
    ways = sizes["data"] * sizes["fsdp"] * sizes["expert"]
    rows, parts = config["batch_size"], config["accumulate"]
    if rows % (ways * parts):
        unit = ways * parts
        low = rows // unit * unit
        raise ConfigError(
            f"batch_size {rows} is not a multiple of {unit} ({ways} batch devices x {parts} "
            f"microbatches); use {f'{low} or ' if low else ''}{low + unit}.")


def claim_workdir(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
    """Write the config into a new workdir, or make sure that an old one is of the same run.

    Raises:
        ConfigError: the workdir belongs to another experiment, or is some other folder.
    """
    path = workdir / "config.json"
    if path.is_file():
        found = config_differences(json.loads(path.read_text()), config)
        if found:
            raise ConfigError(f"Workdir {workdir} belongs to another experiment:\n  "
                              + "\n  ".join(found) + "\nChoose another --workdir, or undo these "
                              "changes to continue that run.")
    elif workdir.is_dir() and any(workdir.iterdir()):
        raise ConfigError(f"Workdir {workdir} is not empty and not a run of ssljax; choose another "
                          "--workdir. Nothing in it was touched.")
    write_json(path, config)


def check_same_data(saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise CheckpointError if a run would continue on other data than it began with."""
    found = [f"{n}: {saved.get(n, 'absent')} when saved, {now.get(n, 'absent')} now"
             for n in sorted(saved.keys() | now.keys()) if saved.get(n) != now.get(n)]
    if found:
        raise CheckpointError("The data of this run has changed since its checkpoint:\n  "
                              + "\n  ".join(found) + "\nPut the old dataset back, or start a new "
                              "run with another --workdir.")


def start_or_restore(method: Method, checkpoints: Checkpoints, mesh: jax.sharding.Mesh | None,
                     fingerprint: Mapping[str, str]) -> TrainState:
    """Return the state of the newest sound checkpoint, or a fresh one; says which."""
    step = checkpoints.choose()
    if step is None:
        return init_state(method.init, method.key, mesh)
    state, items = checkpoints.load(step, abstract_state(method.init, method.key, mesh))
    check_same_data(items["data"]["fingerprint"], fingerprint)
    if jax.process_index() == 0:
        print(f"Continuing from step {step} ({checkpoints.root / str(step)}).", flush=True)
    return state


def describe(stream: Stream, config: Mapping[str, Any]) -> None:
    """Log what the stream will give."""
    if isinstance(stream.source, PackedSource):
        fill = stream.source.plan.fill(stream.source.seq_len)
        logging.info("%d packed rows an epoch, %.2f %% of positions filled.",
                     len(stream.source), 100 * fill)
    epochs = config["total_steps"] * config["batch_size"] / len(stream.source)
    logging.info("%d steps are %.2f epochs.", config["total_steps"], epochs)


def pretrain(config: Mapping[str, Any], workdir: pathlib.Path) -> TrainState:
    """Train as a plain config says, from where `workdir` left off.

    Args:
        config: plain data, see runs.config.KEYS.
        workdir: config.json, metrics.jsonl, tensorboard/ and checkpoints/ go here.

    Raises:
        ConfigError: the config cannot work, or the workdir is another run's.
        DataError: the data is missing or damaged.
        CheckpointError: a checkpoint cannot be written, or is of another run.
        Interrupted: asked to stop; saved.
    """
    check_run(config)
    check_devices(config)
    method = build_method(config)
    train_step = make_train_step(method.objective, method.tx, views=method.pretext.views,
                                 accumulate=config["accumulate"],
                                 compute_dtype=config["compute_dtype"])
    stream = build_stream(config, method.pretext)
    first_process_decides(lambda: claim_workdir(workdir, config))
    checkpoints = Checkpoints(workdir.absolute() / "checkpoints", keep=config["keep_checkpoints"])
    mesh = sharding.make_mesh(config["mesh"]) if jax.device_count() > 1 else None
    with sharding.use_mesh(mesh):
        return run(config, workdir, method, stream, checkpoints, mesh,
                   jax.jit(train_step, donate_argnums=0))


def run(config: Mapping[str, Any], workdir: pathlib.Path, method: Method, stream: Stream,
        checkpoints: Checkpoints, mesh: jax.sharding.Mesh | None, train_step: Any) -> TrainState:
    """Train inside the mesh, and close what was opened whatever happens."""
    total, fingerprint = config["total_steps"], stream.fingerprint()
    state = start_or_restore(method, checkpoints, mesh, fingerprint)
    start = int(state.step)
    if start >= total:
        print(f"Already trained: {start} of {total} steps in {workdir}.", flush=True)
        checkpoints.close()
        return state
    describe(stream, config)
    units, unit = work_per_step(config, method.pretext)
    items = {"config": config, "versions": versions()}

    def save(state: TrainState, step: int) -> None:
        data = {"step": step, "fingerprint": fingerprint}
        checkpoints.save(state, step, {**items, "data": data})

    writers = make_writers(config, workdir, start=start, unit=unit)
    rows = batches(stream, start=start, host=jax.process_index(), hosts=jax.process_count(),
                   place=lambda batch: sharding.place_batch(mesh, batch),
                   workers=config.get("workers", 0))
    try:
        with stop_requests() as stop:
            state = train(
                state, train_step, rows, save=save, wait=checkpoints.wait, writers=writers,
                schedule=Schedule(total, config["log_steps"], config["checkpoint_steps"], units,
                                  unit),
                evaluators=build_evaluators(config, method), learning_rate=method.learning_rate,
                stop=stop)
    finally:
        rows.close()
        for writer in writers:
            writer.close()
        checkpoints.close()
    if jax.process_index() == 0:
        print(f"Trained {total} steps. Next: ssljax evaluate {workdir}", flush=True)
    return state
