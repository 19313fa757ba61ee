"""Config to trained state: build, restore or start, train, save; the same command continues."""

import contextlib
import dataclasses
import importlib.metadata
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from absl import logging

from ssljax.core import sharding
from ssljax.core.errors import ConfigError, Interrupted
from ssljax.core.files import read_json_lines
from ssljax.core.types import TrainState, Writer
from ssljax.data.packing import PackedSource
from ssljax.data.pipeline import batches
from ssljax.data.skips import Skips
from ssljax.data.stream import Stream
from ssljax.optim.average import evaluation_params
from ssljax.runs.build import Method, build_method, build_stream, build_train_step
from ssljax.runs.config import check_run, checkpoint_root, with_defaults
from ssljax.runs.distributed import first_process_decides, leaving_on
from ssljax.runs.evaluators import build_evaluators
from ssljax.runs.instruments import make_meter, work_of
from ssljax.runs.tracking import make_writers
from ssljax.runs.workdir import (
    add_skip,
    check_same_data,
    claim_workdir,
    read_skips,
    rejection_log,
)
from ssljax.train.alarm import Bell
from ssljax.train.checkpoint import Checkpoints
from ssljax.train.interrupt import stop_requests
from ssljax.train.ledger import Ledger
from ssljax.train.loop import Hooks, Schedule, train
from ssljax.train.meter import DivergedError
from ssljax.train.profile import Profiler
from ssljax.train.program import count_compiling, make_program
from ssljax.train.retention import Retention, check_best
from ssljax.train.state import abstract_state, init_state
from ssljax.train.watchdog import watching

VERSIONED = ("ssljax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of the packages whose change could change numbers."""
    return {name: importlib.metadata.version(name) for name in VERSIONED}


def check_devices(config: Mapping[str, Any]) -> None:
    """Raise ConfigError if the mesh or the batch cannot be on the devices that are visible."""
    sizes = sharding.mesh_sizes(jax.device_count(), config["mesh"])
    ways = math.prod(sizes[axis] for axis in sharding.BATCH)
    stages = sizes["stage"]
    waves = config["model"].get("pipeline_microbatches", 0) or stages
    rows, parts = config["batch_size"], config["accumulate"]
    unit = parts * math.lcm(ways, ways // stages * (waves if stages > 1 else 1))
    if rows % unit:
        low = rows // unit * unit
        pipeline = f", {waves} in the pipeline" if stages > 1 else ""
        raise ConfigError(
            f"batch_size {rows} is not a multiple of {unit} ({ways} batch devices x {parts} "
            f"microbatches{pipeline}); use {f'{low} or ' if low else ''}{low + unit}.")


def start_or_restore(method: Method, checkpoints: Checkpoints, mesh: jax.sharding.Mesh | None,
                     fingerprint: Mapping[str, str]) -> TrainState:
    """Return the state of the newest sound checkpoint, or a fresh one; says which."""
    step = checkpoints.choose()
    if step is None:
        return init_state(method.init, method.key, mesh, method.layout)
    wanted = abstract_state(method.init, method.key, mesh, method.layout)
    state, items = checkpoints.load(step, wanted)
    check_same_data(items["data"]["fingerprint"], fingerprint)
    if jax.process_index() == 0:
        print(f"Continuing from step {step} ({checkpoints.root / str(step)}).", flush=True)
    return state


def describe(stream: Stream, config: Mapping[str, Any]) -> None:
    """Log what the stream will give."""
    counts = stream.schedule.dealt(config["total_steps"] * config["batch_size"])
    for (name, part), rows in zip(stream.parts.items(), counts, strict=True):
        if isinstance(part, PackedSource):
            logging.info("%s: %d packed rows an epoch, %.2f %% of positions filled.", name,
                         len(part), 100 * part.plan.fill(part.seq_len))
        logging.info("%s: %d steps are %.2f epochs.", name, config["total_steps"],
                     rows / len(part))


@dataclasses.dataclass(frozen=True)
class Run:
    """A config brought to life: what every attempt to train it shares."""

    config: Mapping[str, Any]
    workdir: pathlib.Path
    method: Method
    stream: Stream
    mesh: jax.sharding.Mesh | None
    train_step: Any
    profile: tuple[int, int] | None

    def checkpoints(self) -> Checkpoints:
        """Open the run's checkpoints."""
        config = self.config
        return Checkpoints(checkpoint_root(self.workdir, config), retention=Retention(
            config["keep_checkpoints"], config["keep_every"], config["keep_best"]))


def build_run(config: Mapping[str, Any], workdir: pathlib.Path,
              profile: tuple[int, int] | None) -> Run:
    """Return the run of a plain config; claims the workdir.

    Raises:
        ConfigError: the config cannot work, or the workdir is another run's.
        DataError: the data is missing or damaged.
    """
    check_run(config)
    check_devices(config)
    every = {label: spec.get("every", 0) for label, spec in config["evals"].items()}
    check_best(config["keep_best"], every, config["checkpoint_steps"])
    method = build_method(config)
    train_step = build_train_step(config, method)
    stream = build_stream(config, method.pretext)
    first_process_decides(lambda: claim_workdir(workdir, config))
    mesh = sharding.make_mesh(config["mesh"]) if jax.device_count() > 1 else None
    return Run(config, workdir, method, stream, mesh, jax.jit(train_step, donate_argnums=0),
               profile)


def pretrain(config: Mapping[str, Any], workdir: pathlib.Path, *,
             profile: tuple[int, int] | None = None, age: float = 0.0) -> TrainState:
    """Train as a plain config says, from where `workdir` left off.

    Args:
        config: plain data, see runs.config.KEYS.
        workdir: config.json, metrics.jsonl, ledger.jsonl, tensorboard/ and checkpoints/ go here.
        profile: first and last step of an XLA profile, written to workdir/profile.
        age: seconds this process had spent on starting, for the ledger.

    Raises:
        ConfigError: the config cannot work, or the workdir is another run's.
        DataError: the data is missing or damaged.
        CheckpointError: a checkpoint cannot be written, or is of another run.
        DivergedError: too many steps in a row were rejected, and no rewind is left.
        CollapsedError: the alarm was told to stop the run; saved.
        Interrupted: asked to stop; saved.
    """
    began = time.perf_counter()
    run = build_run(with_defaults(config), workdir, profile)
    with sharding.use_mesh(run.mesh):
        while True:
            try:
                return attempt(run, age=age + time.perf_counter() - began)
            except DivergedError as err:
                if len(read_skips(workdir)) >= run.config["rewinds"]:
                    raise
                rewind(run, err)
                age, began = 0.0, time.perf_counter()


def rewind(run: Run, diverged: DivergedError) -> None:
    """Go back to the newest checkpoint before the steps that failed; skip the batches since."""
    checkpoints = run.checkpoints()
    step = checkpoints.choose(before=diverged.step - diverged.in_a_row + 1) or 0
    checkpoints.close()
    batches = diverged.step - step
    first_process_decides(lambda: add_skip(run.workdir, step, batches))
    logging.warning("%s Going back to step %d and skipping %d batches.", diverged, step, batches)


def attempt(run: Run, *, age: float) -> TrainState:
    """Train from the newest checkpoint to the end, closing what was opened whatever happens."""
    first = jax.process_index() == 0
    ledger = Ledger(run.workdir / "ledger.jsonl" if first else None,
                    total=run.config["total_steps"], age=age)
    ending = "failed"
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: ledger.close(ending))
        stack.callback(count_compiling(ledger))
        try:
            state = train_on(run, ledger, stack)
            ending = "finished"
        except (Interrupted, KeyboardInterrupt):
            ending = "interrupted"
            raise
    return state


def saver(config: Mapping[str, Any], checkpoints: Checkpoints, fingerprint: Mapping[str, str],
          skips: Skips) -> Callable[[TrainState, int, Mapping[str, float]], None]:
    """Return (state, step, judgements) -> None, which starts a checkpoint with all it holds."""
    def save(state: TrainState, step: int, judgements: Mapping[str, float]) -> None:
        data = {"step": step, "fingerprint": fingerprint, "skips": skips}
        checkpoints.save(state, step, {"config": config, "versions": versions(), "data": data,
                                       "judgements": dict(judgements)})

    return save


def train_on(run: Run, ledger: Ledger, stack: contextlib.ExitStack) -> TrainState:
    """Restore or start, then train to the end; what must be closed goes on the stack."""
    config, method, workdir = run.config, run.method, run.workdir
    checkpoints = run.checkpoints()
    stack.callback(checkpoints.close)
    fingerprint, skips = run.stream.fingerprint(), read_skips(workdir)
    with ledger.spend("restore"):
        state = start_or_restore(method, checkpoints, run.mesh, fingerprint)
    start, total = int(state.step), config["total_steps"]
    if start >= total:
        print(f"Already trained: {start} of {total} steps in {workdir}.", flush=True)
        return state
    describe(run.stream, config)

    schedule = Schedule(total, config["log_steps"], config["checkpoint_steps"])
    work = work_of(config, method)
    writers: list[Writer] = []
    # Only process 0 writes; a port it cannot have ends them all, not it alone.
    first_process_decides(lambda: writers.extend(
        make_writers(config, workdir, start=start, unit=work.unit)))
    for writer in writers:
        stack.callback(writer.close)
    rows = batches(run.stream, start=start, host=jax.process_index(), hosts=jax.process_count(),
                   place=lambda batch: sharding.place_batch(run.mesh, batch),
                   workers=config["workers"], skips=skips)
    stack.callback(rows.close)
    bell = Bell(config["alarm"], log=jax.process_index() == 0)
    bell.recall(row for row in read_json_lines(workdir / "metrics.jsonl") if row["step"] <= start)
    meter = make_meter(config, work, start=start, due=schedule.logs, writers=writers,
                       ledger=ledger, alarm=bell.hear, counts=rows.gauges,
                       learning_rate=method.learning_rate,
                       on_reject=rejection_log(workdir, config["seed"], skips))
    stack.callback(meter.close)
    watchdog = stack.enter_context(watching(workdir, config["stall_seconds"]))
    profiler = Profiler(workdir / "profile", run.profile, start)
    stack.callback(profiler.close)

    def beat(step: int) -> None:
        watchdog.beat(step)
        profiler.beat(step)

    save = saver(config, checkpoints, fingerprint, skips)
    hooks = Hooks(save, checkpoints.wait, stack.enter_context(stop_requests()), beat,
                  lambda state: evaluation_params(state.opt_state, state.params),
                  halt=bell.verdict)
    with leaving_on(jax.errors.JaxRuntimeError):
        state = train(state, make_program(run.train_step, ledger), rows, schedule=schedule,
                      hooks=hooks, meter=meter, ledger=ledger,
                      evaluators=build_evaluators(config, method))
    if jax.process_index() == 0:
        print(f"Trained {total} steps. Next: ssljax evaluate {workdir}", flush=True)
    return state
