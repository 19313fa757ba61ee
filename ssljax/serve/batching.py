"""Dynamic batching: rows of many requests become batches, by shape and by when they are due.

`form` is pure: plain data and a clock's reading in, the next batch out. One thread owns the device
and calls it. A row waits at most `wait` seconds for company, and none at all once a whole batch of
its shape is there. Nothing here knows what a row holds: which rows share a program is their
bucket's matter.

Callers take turns, within a batch and from batch to batch: next is whoever has had the fewest
places of batches, so one who sends many rows keeps out nobody, whatever their shapes. Whoever comes
begins where the one whose turn it last was stands: fair queueing by virtual time (Goyal et al.
1996, https://doi.org/10.1145/248156.248171), charged when rows run, since many are taken back.
"""

import functools
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from absl import logging

from ssljax.serve.engine import StoppedError
from ssljax.serve.scheduler import LONGEST_RETRY, QueueFullError, ShareFullError

Bucket = Hashable
Cancel = Callable[[], None]
Deliver = Callable[[int, Any], None]     # (which row, its answer or an exception); must not block


PATIENCE = 60.0                          # seconds
PACE_BATCHES = 8                         # over which the pace is averaged


class LateError(Exception):
    """A row has waited longer than its request allows."""


class Item(NamedTuple):
    """A row that waits.

    number:   unique, in the order of arrival
    bucket:   rows of equal buckets may run together
    caller:   who sent it
    due:      time from which it waits no longer for company
    deadline: time after which nobody wants its answer
    """

    number: int
    bucket: Bucket
    caller: str
    due: float
    deadline: float


class Tally(NamedTuple):
    """What callers have had, which says whose turn it is.

    now: what the caller whose turn it last was had had until then; never goes back
    had: batches' worth of places that callers have had, of those who have had more than `now`
    """

    now: float = 0.0
    had: Mapping[str, float] = MappingProxyType({})

    def of(self, caller: str) -> float:
        """Return what a caller counts as having had; the least of several is next."""
        return max(self.now, self.had.get(caller, 0.0))


class Formed(NamedTuple):
    """What to do now: run `batch`, refuse `late`; with neither, look again at `wake` or on news."""

    waiting: tuple[Item, ...]
    tally: Tally
    batch: tuple[Item, ...] = ()
    late: tuple[Item, ...] = ()
    wake: float | None = None


class Figures(NamedTuple):
    """Rows that wait and that run, room of the last batch (never 0), whether the thread lives."""

    waiting: int
    busy: int
    slots: int
    alive: bool


def form(waiting: tuple[Item, ...], tally: Tally, now: float,
         rows: Callable[[Bucket], int]) -> Formed:
    """Return the batch to run at `now`, if one is full or due.

    Of several, the one with the row that was due first of the caller whose turn it is. Pure.

    Args:
        waiting: in the order of arrival.
        tally: after the last batch.
        now: seconds on the clock of `due` and `deadline`.
        rows: bucket -> rows of its batches.
    """
    late = tuple(item for item in waiting if item.deadline < now)
    left = tuple(item for item in waiting if item.deadline >= now) if late else waiting
    counts = Counter(item.bucket for item in left)
    ready = [item for item in left if item.due <= now or counts[item.bucket] >= rows(item.bucket)]
    if not ready:
        return Formed(left, tally, (), late, min((item.due for item in left), default=None))
    first = min(ready, key=lambda item: (tally.of(item.caller), item.due, item.number))
    room = rows(first.bucket)
    batch = take_turns([item for item in left if item.bucket == first.bucket], tally, room)[:room]
    taken = {item.number for item in batch}
    return Formed(tuple(item for item in left if item.number not in taken),
                  counted(tally, batch, first.caller, room), tuple(batch), late)


def take_turns(items: Sequence[Item], tally: Tally, room: int) -> list[Item]:
    """Return items in the order of their callers' turns, each counted as one of `room` places."""
    seen: Counter[str] = Counter()
    order = []
    for item in items:
        order.append((tally.of(item.caller) + seen[item.caller] / room, item.number, item))
        seen[item.caller] += 1
    return [item for _, _, item in sorted(order)]


def counted(tally: Tally, batch: Sequence[Item], first: str, room: int) -> Tally:
    """Return the tally once a `batch` of `room` places has gone out on the turn of `first`."""
    places = Counter(item.caller for item in batch)
    had = dict(tally.had) | {caller: tally.of(caller) + count / room
                             for caller, count in places.items()}
    now = tally.of(first)
    return Tally(now, {caller: much for caller, much in had.items() if much > now})


class Batching:
    """The thread that runs batches, and the rows that wait for it.

    Args:
        run: (bucket, contents of rows) -> an answer for each; called in the new thread only.
        rows: bucket -> rows of a batch, at most.
        wait: seconds that a row waits for company.
        limit: rows that may wait.
        share: fraction of them that one caller may have waiting.
        report: told after each batch how many rows it had, of how many, and the seconds it took.
        clock: seconds, never going back.
    """

    def __init__(self, run: Callable[[Bucket, list[Any]], Sequence[Any]], *,
                 rows: Callable[[Bucket], int], wait: float, limit: int, share: float = 1.0,
                 report: Callable[[int, int, float], None] = lambda filled, of, seconds: None,
                 clock: Callable[[], float] = time.monotonic):
        self.run, self.rows, self.wait, self.limit = run, rows, wait, limit
        self.share, self.report, self.clock = share, report, clock
        self.changed, self.numbers = threading.Condition(), itertools.count()
        self.waiting: tuple[Item, ...] = ()
        self.tally = Tally()
        self.contents: dict[int, tuple[Any, Callable[[Any], None]]] = {}
        self.stopping, self.busy, self.slots = False, 0, 1
        self.pace = 0.0                  # seconds a row lately
        self.thread = threading.Thread(target=self.serve, name="ssljax-batching", daemon=True)
        self.thread.start()

    def submit(self, given: Sequence[tuple[Bucket, Any]], deliver: Deliver, *, caller: str = "",
               patience: float = PATIENCE) -> Cancel:
        """Queue rows, all or none; return what forgets those that have not begun.

        Args:
            given: bucket and content of each row.
            deliver: called from the batching thread, once a row.
            caller: who asks; callers take turns.
            patience: seconds after which nobody wants an answer any more.

        Raises:
            ShareFullError: the caller has no room for all.
            QueueFullError: nobody has.
            StoppedError: the batcher was closed.
        """
        now = self.clock()
        with self.changed:
            if self.stopping:
                raise StoppedError("The encoder has stopped.")
            self.check_room(len(given), caller)
            items = [Item(next(self.numbers), bucket, caller, now + self.wait, now + patience)
                     for bucket, _ in given]
            for at, (item, (_, content)) in enumerate(zip(items, given, strict=True)):
                self.contents[item.number] = content, functools.partial(deliver, at)
            self.waiting += tuple(items)
            self.changed.notify()
        return lambda: self.forget({item.number for item in items})

    def check_room(self, more: int, caller: str) -> None:
        """Raise QueueFullError, or ShareFullError, where so many rows more have no room."""
        mine = sum(item.caller == caller for item in self.waiting)
        for waiting, room, error in ((mine, int(self.limit * self.share), ShareFullError),
                                     (len(self.waiting), self.limit, QueueFullError)):
            if waiting + more > room:
                left = min(max(1.0, self.pace * (waiting + more - room)), LONGEST_RETRY)
                whose = " of one key" if room < self.limit else ""
                raise error(f"{waiting} inputs wait and {more} more do not fit in {room} places"
                            f"{whose}. Try again in {left:.0f} s.", left)

    def forget(self, gone: set[int]) -> None:
        """Drop rows that still wait."""
        with self.changed:
            self.waiting = tuple(item for item in self.waiting if item.number not in gone)
            for number in gone:
                self.contents.pop(number, None)

    def load(self) -> Figures:
        """Return how busy the batcher is."""
        return Figures(len(self.waiting), self.busy, self.slots, self.thread.is_alive())

    def close(self) -> None:
        """Stop the thread; what still waits ends with StoppedError."""
        with self.changed:
            self.stopping = True
            self.changed.notify()
        self.thread.join()

    def serve(self) -> None:
        """Run batches until closed."""
        while (formed := self.next_batch()) is not None:
            for item in formed.late:
                self.answer(item, LateError("The input waited too long for the encoder."))
            if formed.batch:
                self.run_batch(formed.batch)
        for number in list(self.contents):
            send(self.contents.pop(number)[1], StoppedError("The server is shutting down."))

    def next_batch(self) -> Formed | None:
        """Wait for something to do; None once closed."""
        with self.changed:
            while not self.stopping:
                formed = form(self.waiting, self.tally, self.clock(), self.rows)
                self.waiting, self.tally = formed.waiting, formed.tally
                if formed.batch or formed.late:
                    return formed
                self.changed.wait(None if formed.wake is None else
                                  max(0.0, formed.wake - self.clock()))
        return None

    def run_batch(self, batch: tuple[Item, ...]) -> None:
        """Run one batch and deliver its answers, or its failure, to each of its rows."""
        bucket, start = batch[0].bucket, self.clock()
        with self.changed:                           # some may have been forgotten since
            batch = tuple(item for item in batch if item.number in self.contents)
            given = [self.contents[item.number][0] for item in batch]
        if not batch:
            return
        self.busy, self.slots = len(batch), self.rows(bucket)
        try:
            answers = self.run(bucket, given)
        except Exception as err:                     # the other batches are not to suffer
            logging.error("The device failed: %s", err, exc_info=err)
            answers = [err] * len(batch)
        for item, answer in zip(batch, answers, strict=True):
            self.answer(item, answer)
        seconds = self.clock() - start
        self.pace += (seconds / len(batch) - self.pace) / PACE_BATCHES
        self.report(self.busy, self.slots, seconds)
        self.busy = 0

    def answer(self, item: Item, answer: Any) -> None:
        """Deliver to the receiver of a row, unless its request has gone."""
        with self.changed:
            entry = self.contents.pop(item.number, None)
        if entry is not None:
            send(entry[1], answer)


def send(deliver: Callable[[Any], None], answer: Any) -> None:
    """Deliver to whoever still listens."""
    try:
        deliver(answer)
    except Exception as err:
        logging.warning("An answer could not be delivered: %s", err)
