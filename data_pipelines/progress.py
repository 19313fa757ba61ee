"""Show how far curation is: each stage's place, rate, time left, and the documents left so far.

On a terminal a bar for each stage; elsewhere, such as a job's log, a line when a stage ends and
every 30 seconds. Rates count what this run did, not what an earlier one had left done.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ssljax.core.wording import count, duration, size

SECONDS = 30.0                 # between lines where no terminal is
LONGEST = 30                   # characters of a stage's name


class Work(NamedTuple):
    """What the finished tasks of a stage were given, and what they left.

    rows:  documents
    bytes: of their text; of files where a stage reads them
    total: bytes of the stage; 0: unknown
    kept:  documents that nothing has dropped; -1: not known before the stage ends
    """

    rows: int = 0
    bytes: int = 0
    total: int = 0
    kept: int = -1


NONE = Work()
Size = tuple[int, int]         # documents (0: those of its output) and bytes of a task


class Report(Protocol):
    """Who is told how far a stage is."""

    def __call__(self, stage: str, done: int, total: int, note: str, work: Work = NONE) -> None:
        """Take note: tasks done of a total, a count worth saying at the end, and the work."""


def silent(stage: str, done: int, total: int, note: str, work: Work = NONE) -> None:
    """Report nothing."""


def work_of(finished: Mapping[int, Mapping[str, Any]], sizes: Sequence[Size],
            before: Work = NONE) -> Work:
    """Return the work of some tasks of a stage and that before them.

    Args:
        finished: number of a task -> what it said, its blocks as (path, rows, kept, bytes).
        sizes: of every task of the stage; none where they are unknown.
        before: to be added to.
    """
    rows, given_bytes, _, kept = before
    for number, told in finished.items():
        made = told.get("blocks", ())
        given = sizes[number] if sizes else (0, 0)
        rows += given[0] or sum(b[1] for b in made)
        given_bytes += given[1]
        if made:
            kept = max(0, kept) + sum(b[2] for b in made)
    return Work(rows, given_bytes, sum(b for _, b in sizes), kept)


class Stage:
    """One stage as it goes; a grouped step's rounds, "step: round", are parts of one stage."""

    def __init__(self, name: str, place: str):
        """Begin."""
        self.name, self.place = name, place
        self.part: str | None = None

    def update(self, part: str, done: int, total: int, note: str, work: Work, now: float) -> None:
        """Take note of a report; what was done when a part began is no work of this run."""
        self.done, self.total, self.note, self.work = done, total, note, work
        if part != self.part and not note:
            self.part, self.started, self.before, self.had = part, now, work, self.share
        elif self.part is None:
            self.part, self.started, self.before, self.had = part, now, work, 0.0
        self.seconds = now - self.started

    @property
    def share(self) -> float:
        """Return how much is done, 0 to 1, by bytes where they are known."""
        if self.done >= self.total or not self.work.total:
            return self.done / max(1, self.total)
        return min(1.0, self.work.bytes / self.work.total)

    @property
    def title(self) -> str:
        """Return the stage's place and name, with the round while there is one."""
        name = f"{self.name}: {self.part}" if self.part and not self.note else self.name
        name = name if len(name) <= LONGEST else f"{name[:LONGEST - 1]}…"
        return f"{self.place} {name}".strip()

    def figures(self) -> str:
        """Return rates, the time left and the documents left so far, as far as known."""
        said, share = [], self.share
        rows, some = (a - b for a, b in zip(self.work[:2], self.before[:2], strict=True))
        if self.seconds > 0:
            said += [f"{count(rows / self.seconds)} documents/s"] if rows > 0 else []
            said += [f"{size(some / self.seconds)}/s"] if some > 0 else []
            if self.had < share < 1:
                left = (1 - share) * self.seconds / (share - self.had)
                said.append(f"{duration(left)} to go")
        if self.note or self.work.kept >= 0:
            said.append(self.note or f"{self.work.kept:,} documents left so far")
        return ", ".join(said)

    def line(self) -> str:
        """Return the stage in one line of a log."""
        return ", ".join(filter(None, (f"{self.title}: {self.done}/{self.total}", self.figures())))


class Stages:
    """Knows each stage's place among those to come."""

    def __init__(self, names: Sequence[str], clock: Callable[[], float]):
        """Expect `names` in order."""
        self.names, self.clock = list(names), clock
        self.at = -1
        self.current: Stage | None = None

    def take(self, name: str, done: int, total: int, note: str, work: Work) -> Stage:
        """Return the stage of a report; a name that begins again is a stage of its own."""
        base, _, part = name.partition(": ")
        stage = self.current
        if stage is None or stage.name != base or (stage.note and not note):
            place = ""
            if base in self.names[self.at + 1:]:
                self.at = self.names.index(base, self.at + 1)
                place = f"{self.at + 1}/{len(self.names)}"
            stage = self.current = Stage(base, place)
        stage.update(part, done, total, note, work, self.clock())
        return stage


@contextlib.contextmanager
def bars(stages: Sequence[str] = (), console: Console | None = None) -> Iterator[Report]:
    """Enter a display and yield the function that moves it.

    Args:
        stages: names of the stages to come (data_pipelines.run.stages).
        console: where to; standard error if not given.
    """
    console = console or Console(stderr=True)
    show = live if console.is_terminal else lines
    with show(Stages(stages, time.monotonic), console) as report:
        yield report


@contextlib.contextmanager
def live(stages: Stages, console: Console) -> Iterator[Report]:
    """Show a bar for each stage."""
    columns = (TextColumn("{task.description:<22}"), BarColumn(bar_width=20), TimeElapsedColumn(),
               TextColumn("{task.fields[figures]}"))
    shown: list[tuple[Stage, TaskID]] = []
    with Progress(*columns, console=console) as progress:
        def report(stage: str, done: int, total: int, note: str, work: Work = NONE) -> None:
            found = stages.take(stage, done, total, note, work)
            if not shown or shown[-1][0] is not found:
                shown.append((found, progress.add_task(found.title, total=1.0, figures="")))
            progress.update(shown[-1][1], completed=found.share, figures=found.figures(),
                            description=found.title)

        yield report


@contextlib.contextmanager
def lines(stages: Stages, console: Console, seconds: float = SECONDS) -> Iterator[Report]:
    """Write a line when a stage ends, and every so many seconds."""
    ended, lock = threading.Event(), threading.Lock()

    def write(stage: Stage) -> None:
        with lock:
            console.print(stage.line(), highlight=False, soft_wrap=True, markup=False)

    def report(stage: str, done: int, total: int, note: str, work: Work = NONE) -> None:
        found = stages.take(stage, done, total, note, work)
        if note:
            write(found)

    def watch() -> None:
        while not ended.wait(seconds):
            if stages.current is not None and not stages.current.note:
                write(stages.current)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield report
    finally:
        ended.set()
        watcher.join()
