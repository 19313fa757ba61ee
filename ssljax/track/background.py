"""Writing to places that may be slow or away, without holding up a training step.

Rows wait in memory while the place is away and go out when it is back; nothing is lost unless the
run ends first, or so many rows wait that the oldest make room, and then the loss is counted.
"""

import collections
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from absl import logging

from ssljax.core.types import Writer

MOST = 10_000        # rows that wait; a row of 100 figures is about 10 kB
RETRY_S = 30.0       # seconds between attempts at a place that is away
# Seconds that the end of a run waits for the last rows: a cluster that asks a process to stop gives
# it 30 (Kubernetes), and the checkpoint matters more.
CLOSE_S = 10.0


class Row(NamedTuple):
    """Logged figures: of which step, when (Unix seconds), and what."""

    step: int
    time: float
    scalars: Mapping[str, float]


class Outbox:
    """A thread that hands rows over in order, again and again until the receiver takes them."""

    def __init__(self, send: Callable[[Sequence[Row]], None], finish: Callable[[], None],
                 what: str):
        """Start; `send` and `finish` raise when they could not, `what` names them in messages."""
        self._send, self._finish, self._what = send, finish, what
        self._rows: collections.deque[Row] = collections.deque()
        self._wake = threading.Condition()
        self._closing = False
        self._dropped = 0
        # A daemon: a place that hangs must not keep a finished run from ending.
        self._thread = threading.Thread(target=self._deliver, name=f"track-{what}", daemon=True)
        self._thread.start()

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Take a row; returns at once."""
        with self._wake:
            if len(self._rows) == MOST:
                self._rows.popleft()
                self._dropped += 1
            self._rows.append(Row(step, time.time(), dict(scalars)))
            self._wake.notify()

    def close(self) -> None:
        """Wait a while for the rows to go out; say how many did not."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(CLOSE_S)
        lost = self._dropped + len(self._rows)
        if lost:
            logging.error("%s did not take %d logged rows; metrics.jsonl has them all.",
                          self._what, lost)

    def _deliver(self) -> None:
        """Be the thread: ends when all is delivered after close, or a try after close failed."""
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._rows or self._closing)
                rows, closing = list(self._rows), self._closing
            if not rows:
                self._try(self._finish)
                return
            if self._try(lambda: self._send(rows)):        # noqa: B023, called at once
                self._forget(rows)
            elif closing:
                return
            else:
                with self._wake:
                    self._wake.wait_for(lambda: self._closing, RETRY_S)

    def _try(self, action: Callable[[], None]) -> bool:
        """Say whether an action worked; log why it did not."""
        try:
            action()
        except Exception as err:       # whatever a client raises, training goes on
            logging.warning("%s is away (%s); %d rows wait.", self._what,
                            str(err).partition("\n")[0][:200], len(self._rows))
            return False
        return True

    def _forget(self, rows: Sequence[Row]) -> None:
        """Take delivered rows out of those that wait."""
        with self._wake:
            for row in rows:
                # Rows that made room while these were under way are gone already.
                if self._rows and self._rows[0] is row:
                    self._rows.popleft()


def in_background(send: Callable[[Sequence[Row]], None], *, what: str,
                  finish: Callable[[], None] = lambda: None) -> Writer:
    """Return a writer that sends from a thread of its own; `finish` runs after the last row."""
    outbox = Outbox(send, finish, what)
    return Writer(outbox.add, outbox.close)
