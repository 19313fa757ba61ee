"""The training loop: steps, metrics, evaluation and checkpoints, the same for every method."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping

import jax

from ssljax.core.errors import SsljaxError
from ssljax.core.types import Batch, Evaluator, PyTree, TrainState
from ssljax.train.interrupt import interrupted
from ssljax.train.ledger import Ledger
from ssljax.train.meter import Meter
from ssljax.train.step import TrainStep


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When things happen, in steps.

    total: the last step.
    log: steps between logged metrics.
    checkpoint: steps between checkpoints; one is always written at the end.
    """

    total: int
    log: int
    checkpoint: int

    def logs(self, step: int) -> bool:
        """Say whether `step` is logged."""
        return step % self.log == 0 or step == self.total

    def saves(self, step: int) -> bool:
        """Say whether the state after `step` is saved."""
        return step % self.checkpoint == 0 or step == self.total


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What the loop calls besides the step.

    save:   (state, step, metrics) starts a checkpoint; metrics are the judgements of this step
    wait:   returns when the last checkpoint is on disk
    stop:   step -> exit code when the run is asked to stop
    beat:   (step), once a step, for watchdogs and profilers
    params: state -> the parameters that are judged, such as their average
    halt:   the error to end the run with once it is saved, None to go on; see train.alarm
    """

    save: Callable[[TrainState, int, Mapping[str, float]], None]
    wait: Callable[[], None]
    stop: Callable[[int], int | None]
    beat: Callable[[int], None] = lambda step: None
    params: Callable[[TrainState], PyTree] = lambda state: state.params
    halt: Callable[[], SsljaxError | None] = lambda: None


def judge(evaluators: Mapping[str, Evaluator], params: PyTree, extra: PyTree) -> dict[str, float]:
    """Return "<label>/<name>" -> value of every evaluator."""
    return {f"{label}/{name}": value for label, evaluator in evaluators.items()
            for name, (value, _) in evaluator.run(params, extra).items()}


def train(state: TrainState, train_step: TrainStep, batches: Iterator[Batch], *,
          schedule: Schedule, hooks: Hooks, meter: Meter, ledger: Ledger,
          evaluators: Mapping[str, Evaluator]) -> TrainState:
    """Run from the state's step to the schedule's last; return the final state.

    Args:
        state: where to start.
        train_step: the compiled step; donates its state.
        batches: batch of the state's step first.
        schedule: when to log, save and end.
        hooks: what else is called.
        meter: takes every step's metrics.
        ledger: takes every second.
        evaluators: label -> evaluator, run when due.

    Raises:
        Interrupted: asked to stop; everything is saved.
        DivergedError: the run no longer learns; the last good checkpoint is kept.
        CollapsedError: the alarm was told to stop the run, and it is saved.
    """
    start = int(state.step)
    ledger.resumed(start)
    with ledger.spend("step"):
        for step in range(start + 1, schedule.total + 1):
            batch = fetch(batches, meter, ledger, first=step == start + 1)
            state, metrics = train_step(state, batch)
            if step == start + 1:
                meter.restart_clock()
            meter.add(step, metrics)
            hooks.beat(step)
            exit_code = hooks.stop(step)
            after_step(state, step, exit_code, schedule, hooks, meter, ledger, evaluators)
        meter.flush()
    with ledger.spend("save"):
        hooks.wait()
    return state


def fetch(batches: Iterator[Batch], meter: Meter, ledger: Ledger, *, first: bool) -> Batch:
    """Return the next batch, and count the time the device had to wait for it."""
    if first:       # nothing runs yet: reading the first batch is waiting for data
        with ledger.spend("data_wait"):
            return next(batches)
    requested = time.perf_counter()
    batch = next(batches)
    meter.waited(requested, time.perf_counter())
    return batch


def after_step(state: TrainState, step: int, exit_code: int | None, schedule: Schedule,
               hooks: Hooks, meter: Meter, ledger: Ledger,
               evaluators: Mapping[str, Evaluator]) -> None:
    """Judge, save and stop where that is due after `step`; each in its bucket.

    Raises:
        Interrupted: asked to stop.
        CollapsedError: the alarm says so.
    """
    halted = hooks.halt() if step < schedule.total else None
    due = {n: e for n, e in evaluators.items() if e.every and step % e.every == 0}
    saves = schedule.saves(step) or exit_code is not None or halted is not None
    if not due and not saves:
        return
    meter.flush()       # the device's work ends here, so that it is not counted as saving
    results: dict[str, float] = {}
    if due:
        with ledger.spend("evaluate"):
            results = judge(due, hooks.params(state), state.extra)
        meter.write(step, results)
    if saves:
        with ledger.spend("save"):
            jax.block_until_ready(state)
            hooks.save(state, step, results)
        ledger.flush()
    if halted or (exit_code is not None and step < schedule.total):
        with ledger.spend("save"):
            hooks.wait()
        raise halted or interrupted(step, exit_code)
    if due:
        meter.restart_clock()
