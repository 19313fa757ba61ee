"""The training loop: steps, metrics, evaluation and checkpoints, the same for every method."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
from absl import logging

from ssljax.core.errors import SsljaxError
from ssljax.core.types import Batch, Evaluator, TrainState, Writer
from ssljax.train.interrupt import interrupted
from ssljax.train.step import StepMetrics, TrainStep


class DivergedError(SsljaxError):
    """No step was accepted for a while: the loss or its gradient is not finite."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When things happen, in steps.

    total: the last step.
    log: steps between logged metrics.
    checkpoint: steps between checkpoints; one is always written at the end.
    units: how many tokens or images a step consumes, for the rate.
    unit: "tokens" or "images".
    """

    total: int
    log: int
    checkpoint: int
    units: int
    unit: str


class Meter:
    """Turns device metrics into logged numbers, one step late so that the device never waits."""

    def __init__(self, schedule: Schedule, writers: Sequence[Writer],
                 learning_rate: Callable[[int], float], start: int):
        """Start the clock at step `start`."""
        self._schedule, self._writers, self._learning_rate = schedule, writers, learning_rate
        self._pending: tuple[int, StepMetrics] | None = None
        self._clock, self._step = time.perf_counter(), start
        self._began = self._clock
        self._rejected, self._rejected_logged = 0.0, 0.0
        self.data_wait = 0.0

    def add(self, step: int, metrics: StepMetrics) -> None:
        """Take the metrics of a step that may still be running; log an earlier one."""
        self._rejected = self._rejected + metrics["rejected"]
        self.flush()
        if step % self._schedule.log == 0 or step == self._schedule.total:
            self._pending = (step, {**metrics, "rejected": self._rejected})

    def flush(self) -> None:
        """Log the step that waits to be logged, if one does.

        Raises:
            DivergedError: none of the steps since the last log was accepted.
        """
        if self._pending is None:
            return
        step, metrics = self._pending
        self._pending = None
        scalars = {n: float(x) for n, x in jax.device_get(metrics).items()}
        now, steps = time.perf_counter(), step - self._step
        seconds = max(now - self._clock, 1e-9)
        scalars |= {
            f"{self._schedule.unit}_per_second": steps * self._schedule.units / seconds,
            "learning_rate": self._learning_rate(step - 1), "seconds": now - self._began,
            "data_wait": self.data_wait / seconds}
        self.write(step, scalars)
        rejected = scalars["rejected"] - self._rejected_logged
        self._clock, self._step, self.data_wait = now, step, 0.0
        self._rejected_logged = scalars["rejected"]
        if rejected >= steps > 1:
            raise DivergedError(
                f"All {steps} steps up to {step} were rejected: loss {scalars['loss']}, gradient "
                f"norm {scalars['grad_norm']}. Nothing was updated; lower optim.lr or raise "
                "schedule.warmup_steps, and look at the data of these steps.")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Hand numbers of a step to every writer."""
        for writer in self._writers:
            writer.write(step, scalars)

    def restart_clock(self) -> None:
        """Leave the time since the last log (compilation, evaluation) out of the next rate."""
        self._clock, self.data_wait = time.perf_counter(), 0.0


def judge(evaluators: Mapping[str, Evaluator], state: TrainState, step: int,
          meter: Meter) -> None:
    """Run the evaluators that are due at `step` and log "<label>/<name>"."""
    due = {n: e for n, e in evaluators.items() if e.every and step % e.every == 0}
    for label, evaluator in due.items():
        results = evaluator.run(state.params, state.extra)
        meter.write(step, {f"{label}/{name}": value for name, (value, _) in results.items()})
    if due:
        meter.restart_clock()


def first_step(train_step: TrainStep, state: TrainState, batch: Batch,
               ) -> tuple[TrainState, StepMetrics]:
    """Take a step and wait for it, so that compilation is not counted as training."""
    began = time.perf_counter()
    state, metrics = jax.block_until_ready(train_step(state, batch))
    logging.info("First step, with compilation: %.1f s.", time.perf_counter() - began)
    return state, metrics


def train(state: TrainState, train_step: TrainStep, batches: Iterator[Batch], *,
          schedule: Schedule, save: Callable[[TrainState, int], None], wait: Callable[[], None],
          writers: Sequence[Writer], evaluators: Mapping[str, Evaluator],
          learning_rate: Callable[[int], float], stop: Callable[[int], int | None],
          ) -> TrainState:
    """Run from the state's step to the schedule's last; return the final state.

    Args:
        state: where to start.
        train_step: the jitted step; donates its state.
        batches: batch of the state's step first.
        schedule: when to log, save and end.
        save: (state, step) starts a checkpoint.
        wait: returns when the last checkpoint is on disk.
        writers: where metrics go.
        evaluators: label -> evaluator, run when due.
        learning_rate: step -> learning rate, for the log.
        stop: step -> exit code when the run is asked to stop.

    Raises:
        Interrupted: asked to stop; everything is saved.
        DivergedError: the run no longer learns; the last good checkpoint is kept.
    """
    start = int(state.step)
    meter = Meter(schedule, writers, learning_rate, start)
    for step in range(start + 1, schedule.total + 1):
        began = time.perf_counter()
        batch = next(batches)
        meter.data_wait += time.perf_counter() - began
        if step == start + 1:
            state, metrics = first_step(train_step, state, batch)
            meter.restart_clock()
        else:
            state, metrics = train_step(state, batch)
        meter.add(step, metrics)
        exit_code = stop(step)
        if step % schedule.checkpoint == 0 or step == schedule.total or exit_code is not None:
            meter.flush()
            save(state, step)
        judge(evaluators, state, step, meter)
        if exit_code is not None and step < schedule.total:
            wait()
            raise interrupted(step, exit_code)
    meter.flush()
    wait()
    return state
