"""Show how far curation is: a line for each stage, with what it read and left."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

# (stage, done, total, note): documents done of a total, and a count worth saying.
Report = Callable[[str, int, int, str], None]


def silent(stage: str, done: int, total: int, note: str) -> None:
    """Report nothing."""


@contextlib.contextmanager
def bars(console: Console | None = None) -> Iterator[Report]:
    """Enter a live display and yield the function that moves it."""
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        def report(stage: str, done: int, total: int, note: str) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, note="")
            progress.update(tasks[stage], completed=done, total=total, note=note)

        yield report
