"""The compiled train step: compiled once, and never again without a word."""

import threading
from collections.abc import Callable
from typing import Any

import jax
from absl import logging

from ssljax.core.tree import named_leaves
from ssljax.core.types import Batch, TrainState
from ssljax.train.ledger import Ledger
from ssljax.train.step import StepMetrics

Signature = dict[str, str]


def signature(batch: Batch) -> Signature:
    """Return the form of every array: what a compiled program depends on."""
    return {name: f"{x.dtype}{list(x.shape)}@{getattr(x, 'sharding', None)}"
            for name, x in named_leaves(dict(batch)).items()}


def changes(before: Signature, after: Signature) -> str:
    """Return how two signatures differ, in words."""
    names = sorted(before.keys() | after.keys())
    return "; ".join(f"{n}: {before.get(n, 'absent')} -> {after.get(n, 'absent')}"
                     for n in names if before.get(n) != after.get(n))


def make_program(train_step: Callable[..., Any], ledger: Ledger,
                 ) -> Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]:
    """Return the step as an ahead-of-time compiled program; the time goes to "compile".

    A batch of another form compiles again, and what changed is logged: jit would do the same in
    silence, and a run that recompiles each step looks merely slow.

    Args:
        train_step: jitted, with its state donated.
        ledger: where the time is counted.
    """
    compiled: dict[str, Any] = {}
    last: list[Signature] = []

    def program(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        now = signature(batch)
        if not last or now != last[0]:
            key = repr(now)
            if last and key not in compiled:
                logging.warning("The step is compiled again: its batch changed: %s.",
                                changes(last[0], now))
            last[:] = [now]
            if key not in compiled:
                with ledger.spend("compile"):
                    compiled[key] = train_step.lower(state, batch).compile()
            compiled["now"] = compiled[key]
        return compiled["now"](state, batch)

    return program


def count_compiling(ledger: Ledger) -> Callable[[], None]:
    """Count the seconds of every other compilation (init, evaluation) too; return how to stop."""
    def listen(event: str, seconds: float, **_: Any) -> None:
        ours = threading.current_thread() is threading.main_thread()
        if ours and event == "/jax/core/compile/backend_compile_duration":
            ledger.reassign(seconds, "compile")

    jax.monitoring.register_event_duration_secs_listener(listen)
    return lambda: jax.monitoring.unregister_event_duration_listener(listen)
