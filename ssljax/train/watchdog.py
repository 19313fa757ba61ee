"""Report a step that does not end, with the stack of every thread: a hang is never silent."""

import contextlib
import faulthandler
import pathlib
import sys
import threading
import time
import traceback
from collections.abc import Iterator

from absl import logging


class Watchdog:
    """A thread that watches the time since the last `beat`.

    It reports and does not kill: a slow file system is no reason to lose a run. Peers that died
    are noticed by jax.distributed's heartbeat, which does end the process.
    """

    def __init__(self, folder: pathlib.Path, stall_seconds: float):
        """Start watching.

        Args:
            folder: stalled-<step>.txt with the stacks of all threads is written here.
            stall_seconds: time without a beat that is reported, and again each time it doubles.
        """
        self._folder, self._stall = folder, stall_seconds
        self._step, self._beat = 0, time.monotonic()
        self._runner = threading.get_ident()
        self._closed = threading.Event()
        self._limit = stall_seconds
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def beat(self, step: int) -> None:
        """Note that `step` has ended, or that something else shows life."""
        self._step, self._beat, self._limit = step, time.monotonic(), self._stall
        self._runner = threading.get_ident()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(min(1.0, self._stall / 4)):
            silent = time.monotonic() - self._beat
            if silent >= self._limit:
                self._limit = 2 * silent
                self._report(silent)

    def _report(self, silent: float) -> None:
        path = self._folder / f"stalled-{self._step + 1}.txt"
        with path.open("a") as file:
            file.write(f"{time.ctime()}: {silent:.0f} s since step {self._step} ended\n")
            # First the thread that should have gone on: all of them end at a hundred, the newest
            # first, and it is the oldest.
            if frame := sys._current_frames().get(self._runner):
                file.writelines(traceback.format_stack(frame))
            file.flush()
            faulthandler.dump_traceback(file=file, all_threads=True)
        logging.error(
            "Step %d has not ended for %.0f s (limit %.0f s). What every thread was doing is in "
            "%s. The run goes on waiting; look at the other processes and the file system.",
            self._step + 1, silent, self._stall, path)


@contextlib.contextmanager
def watching(folder: pathlib.Path, stall_seconds: float) -> Iterator[Watchdog]:
    """Yield a watchdog that is closed at the end."""
    watchdog = Watchdog(folder, stall_seconds)
    try:
        yield watchdog
    finally:
        watchdog.close()
