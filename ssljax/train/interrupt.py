"""Notice that a run is asked to stop, and let it stop between steps."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils

from ssljax.core.errors import Interrupted

# See core.errors.Interrupted. SIGUSR1 is what Slurm's --signal=USR1@120 sends before a time limit.
EXIT_CODES = {signal.SIGTERM: 75, signal.SIGUSR1: 75, signal.SIGINT: 130}


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[int], int | None]]:
    """Yield a function step -> exit code to stop with, or None to go on.

    One process: SIGTERM, SIGUSR1 and the first Ctrl-C are noted; a second Ctrl-C interrupts at
    once. Several: jax.distributed catches SIGTERM itself and brings all processes to one common
    step; a Python handler would silence it, so SIGUSR1 is passed on as SIGTERM.
    """
    if jax.process_count() > 1:
        before = signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        try:
            yield lambda step: (EXIT_CODES[signal.SIGTERM]
                                if multihost_utils.reached_preemption_sync_point(step) else None)
        finally:
            signal.signal(signal.SIGUSR1, before)
        return
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        seen.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in EXIT_CODES}
    try:
        yield lambda step: EXIT_CODES[seen[0]] if seen else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupted(step: int, exit_code: int) -> Interrupted:
    """Return the exception that ends an interrupted run whose state is saved."""
    return Interrupted(f"Stopped and saved at step {step}; run the same command again to continue.",
                       exit_code)
