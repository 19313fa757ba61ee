"""A live progress bar with loss, rate and time left; on a pipe, a line now and then."""

import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ssljax.core.types import Writer

LINE_EVERY_S = 10.0     # seconds between lines where there is no terminal


def summary(scalars: Mapping[str, float], unit: str) -> str:
    """Return "loss 3.21  4,321 tokens/s  MFU 41.2 %  goodput 97 %", as far as it was measured."""
    rate = scalars.get(f"{unit}_per_second")
    parts = [f"loss {scalars['loss']:.4f}"] + ([f"{rate:,.0f} {unit}/s"] if rate else [])
    if "mfu" in scalars:
        parts.append(f"MFU {100 * scalars['mfu']:.1f} %")
    if "goodput" in scalars:
        parts.append(f"goodput {100 * scalars['goodput']:.0f} %")
    return "  ".join(parts)


def make_lines(total_steps: int, unit: str) -> Writer:
    """Return a writer that prints a line at most every LINE_EVERY_S seconds, and the last step."""
    printed = [-LINE_EVERY_S]

    def write(step: int, scalars: Mapping[str, float]) -> None:
        now = time.monotonic()
        if "loss" in scalars and (now - printed[0] >= LINE_EVERY_S or step == total_steps):
            printed[0] = now
            print(f"step {step}/{total_steps}  {summary(scalars, unit)}", flush=True)

    return Writer(write, lambda: None)


def make(total_steps: int, *, start: int, unit: str) -> Writer:
    """Return a writer that shows progress from step `start` on standard output.

    Args:
        total_steps: where the bar ends.
        start: steps already done.
        unit: what the rate counts, "tokens" or "images".
    """
    if not sys.stdout.isatty():
        return make_lines(total_steps, unit)
    bar = Progress(TextColumn("train"), BarColumn(), MofNCompleteColumn(),
                   TextColumn("{task.fields[note]}"), TimeRemainingColumn(), console=Console())
    task = bar.add_task("train", total=total_steps, completed=start, note="compiling")
    bar.start()

    def write(step: int, scalars: Mapping[str, float]) -> None:
        if "loss" in scalars:
            bar.update(task, completed=step, note=summary(scalars, unit))

    return Writer(write, bar.stop)
