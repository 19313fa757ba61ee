"""An XLA profile of chosen steps, for TensorBoard's profiler or Perfetto."""

import pathlib

import jax
from absl import logging

from ssljax.core.errors import ConfigError


def parse_steps(text: str) -> tuple[int, int]:
    """Return (first, last) of "FIRST:LAST".

    Raises:
        ConfigError: it is not two steps in order.
    """
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last)):
        raise ConfigError(f"--profile {text!r}; expected FIRST:LAST, two steps such as 20:25.")
    return int(first), int(last)


class Profiler:
    """Traces steps first..last into a folder."""

    def __init__(self, folder: pathlib.Path, steps: tuple[int, int] | None, start: int):
        """Prepare to trace `steps`; begin at once if a run from step `start` is already there."""
        self._folder, self._steps, self._tracing = folder, steps, False
        self.beat(start)

    def beat(self, step: int) -> None:
        """Note that `step` was started: the trace begins before the first and ends after the last.

        Waits for the device at both ends, so that the trace holds whole steps.
        """
        if self._steps is None:
            return
        first, last = self._steps
        if not self._tracing and first - 1 <= step < last:
            jax.effects_barrier()
            jax.profiler.start_trace(self._folder)
            self._tracing = True
        elif self._tracing and step >= last:
            self.close()

    def close(self) -> None:
        """End the trace, if one runs."""
        if self._tracing:
            jax.effects_barrier()
            jax.profiler.stop_trace()
            self._tracing, self._steps = False, None
            logging.info("The profile is in %s; open it with `tensorboard --logdir %s`.",
                         self._folder, self._folder.parent)
