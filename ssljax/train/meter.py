"""From device metrics to logged numbers, one step late so that the device never waits."""

import collections
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from ssljax.core.errors import SsljaxError
from ssljax.core.types import Writer
from ssljax.train.ledger import Ledger
from ssljax.train.norms import named_norms
from ssljax.train.step import StepMetrics

LAG = 1     # steps the host runs ahead of the device: one is queued while one computes


class DivergedError(SsljaxError):
    """Too many steps in a row were rejected: the loss or its gradient is not finite, or spikes.

    step: the last of them; in_a_row: how many.
    """

    def __init__(self, message: str, step: int, in_a_row: int):
        """Keep where it happened, for a rewind."""
        super().__init__(message)
        self.step, self.in_a_row = step, in_a_row


@dataclasses.dataclass(frozen=True)
class Work:
    """What a step does, for rates.

    units, unit: how many "tokens" or "images" it consumes
    flops: of one step on all devices, forward and backward, by the formula of train.flops
    peak: FLOP/s of all devices together, 0 where unknown
    """

    units: int
    unit: str
    flops: float = 0.0
    peak: float = 0.0


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A step that was not taken, as rejected.jsonl records it."""

    step: int
    loss: float
    grad_norm: float


def ended(metrics: StepMetrics) -> float:
    """Wait for a step; return when it ended, in seconds of time.perf_counter."""
    jax.block_until_ready(metrics["in_a_row"])
    return time.perf_counter()


def global_norm(blocks: Mapping[str, Any]) -> float:
    """Return the norm over all blocks."""
    return math.sqrt(sum(float(np.sum(np.square(x, dtype=np.float64))) for x in blocks.values()))


class Meter:
    """Takes the metrics of steps that may still be running, and logs those that are due."""

    def __init__(self, *, start: int, due: Callable[[int], bool], work: Work,
                 writers: Sequence[Writer], learning_rate: Callable[[int], float], ledger: Ledger,
                 gauges: Callable[[], Mapping[str, float]] = dict, max_rejected: int = 20,
                 on_reject: Callable[[Rejection], None] = lambda rejection: None,
                 alarm: Callable[[int, Mapping[str, float]], Mapping[str, float]] | None = None):
        """Begin after step `start`.

        Args:
            start: the step of the state the run starts from.
            due: step -> whether it is logged.
            work: of a step.
            writers: where logged numbers go.
            learning_rate: step -> learning rate.
            ledger: for goodput.
            gauges: read when logging: device memory, accelerators.
            max_rejected: rejected steps in a row that end the run.
            on_reject: called with every rejected step.
            alarm: (step, metrics) -> what it adds to them; called with every logged step.
        """
        self._due, self._work, self._writers = due, work, writers
        self._learning_rate, self._ledger, self._gauges = learning_rate, ledger, gauges
        self._max_rejected, self._on_reject = max_rejected, on_reject
        self._alarm = alarm or (lambda step, scalars: {})
        # A thread waits for each step, so that the time it ended is known to the host exactly.
        self._waiter = ThreadPoolExecutor(1, thread_name_prefix="meter")
        self._running: collections.deque[tuple[int, StepMetrics, Future[float]]]
        self._running = collections.deque()
        self._durations: list[float] = []
        self._logged, self._clock = start, time.perf_counter()
        self._began, self._done = self._clock, self._clock
        self._data_wait = 0.0

    def add(self, step: int, metrics: StepMetrics) -> None:
        """Take the metrics of a step that was just started; finish earlier ones.

        Raises:
            DivergedError: too many steps in a row were rejected.
        """
        self._running.append((step, metrics, self._waiter.submit(ended, metrics)))
        while len(self._running) > LAG:
            self._finish(*self._running.popleft())

    def flush(self) -> None:
        """Wait for the steps that still run, and log those that are due."""
        while self._running:
            self._finish(*self._running.popleft())

    def waited(self, requested: float, arrived: float) -> None:
        """Count the part of a wait for data in which the device had nothing to do."""
        idle_since = self._done
        if self._running:
            end = self._running[-1][2]
            idle_since = end.result() if end.done() else arrived
        idle = max(0.0, arrived - max(requested, idle_since))
        self._data_wait += idle
        self._ledger.reassign(idle, "data_wait")

    def close(self) -> None:
        """End the waiting thread."""
        self._waiter.shutdown(cancel_futures=True)

    def restart_clock(self) -> None:
        """Leave the time since the last log (compilation, evaluation) out of the next rate."""
        self._clock = self._done = time.perf_counter()
        self._data_wait = 0.0

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Hand numbers of a step to every writer."""
        for writer in self._writers:
            writer.write(step, scalars)

    def _finish(self, step: int, metrics: StepMetrics, end: Future[float]) -> None:
        now = end.result()
        in_a_row = int(jax.device_get(metrics["in_a_row"]))
        self._durations.append(now - self._done)
        self._done = now
        self._ledger.beat(step)
        if in_a_row:
            loss, norm = (float(jax.device_get(metrics[n])) for n in ("loss", "grad_norm"))
            self._on_reject(Rejection(step, loss, norm))
        if self._due(step):
            self._log(step, metrics, now)
        if in_a_row >= self._max_rejected:
            raise DivergedError(
                f"The last {in_a_row} steps up to {step} were rejected: loss "
                f"{float(metrics['loss'])}, gradient norm {float(metrics['grad_norm'])}. Nothing "
                "was updated in them; lower optim.lr or raise schedule.warmup_steps, and look at "
                f"one of them with `ssljax replay WORKDIR --step {step}`.", step, in_a_row)

    def _log(self, step: int, metrics: StepMetrics, now: float) -> None:
        host = dict(jax.device_get(metrics))
        norms = host.pop("norms", {})
        scalars = {name: float(x) for name, x in host.items() if name != "in_a_row"}
        scalars |= self._alarm(step, scalars)
        scalars |= self._rates(step, now)
        for kind, blocks in norms.items():
            scalars[kind] = scalars.get(kind, global_norm(blocks))
            scalars |= named_norms(kind, blocks) if kind != "param_norm" else {}
        self.write(step, {**scalars, **self._gauges()})
        self._clock, self._logged, self._data_wait, self._durations = now, step, 0.0, []

    def _rates(self, step: int, now: float) -> dict[str, float]:
        """Return speed and where the time went since the last log."""
        work, seconds = self._work, max(now - self._clock, 1e-9)
        rate = (step - self._logged) / seconds
        p50, p90, p99 = np.percentile(self._durations, [50, 90, 99]).tolist()
        rates = {f"{work.unit}_per_second": rate * work.units, "step_seconds_p50": p50,
                 "step_seconds_p90": p90, "step_seconds_p99": p99,
                 "learning_rate": self._learning_rate(step - 1), "seconds": now - self._began,
                 "data_wait": self._data_wait / seconds, "goodput": self._ledger.goodput()}
        if work.flops:
            rates["model_flops_per_second"] = rate * work.flops
        if work.flops and work.peak:
            rates["mfu"] = rate * work.flops / work.peak
        return rates
