"""Who sits in which slot: what the engine's thread keeps of requests and asks of the queue.

The state is the device's cache and, on the host, what each slot holds.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ssljax.serve.device import Cache, Device, Turn, new_turn
from ssljax.serve.guides import Guide
from ssljax.serve.jobs import Job, Piece, Scored
from ssljax.serve.layout import spans
from ssljax.serve.pages import Held


@dataclass(frozen=True, eq=False)
class Stream:
    """A job in the engine, compared by identity: two equal requests are still two.

    feed:  the next token -> the piece it completes
    guide: says which tokens may come next, where the job has a grammar
    send:  deliver a piece, free slot and pages if it is the last; say whether more may come
    """

    job: Job
    feed: Callable[[Scored], Piece]
    guide: Guide | None
    send: Callable[[Piece], bool]


@dataclass(eq=False)
class Seat:
    """A stream in a slot: the pages it holds, and the chunks of its prompt still to be read."""

    slot: int
    stream: Stream
    held: Held
    unread: Iterator[tuple[int, tuple[int, int]]]       # (number of the chunk, (start, stop))
    opened: bool = False                                # what precedes its answer is out
    ready: bool = False                                 # its prompt has been read


class State(NamedTuple):
    """seats: in the order they came; turn: the rows of all slots; steps: of the last decoding."""

    cache: Cache
    seats: tuple[Seat, ...]
    turn: Turn
    steps: int = 1


class Desk(NamedTuple):
    """What the thread asks and tells those who own the queue.

    join:     () -> the (slot, stream, pages) that join now; waits while there is nothing to do
    running:  () -> slot -> stream, of every busy slot
    waiting:  () -> whether a request waits for a slot
    stopping: () -> whether to return
    keep:     (stream, chunk) -> None; that chunk of its prompt has been read
    forget:   () -> None; the contents of all pages are lost
    guessed:  (guesses, those that came true) -> None, of one decoding
    """

    join: Callable[[], Sequence[tuple[int, Stream, Held]]]
    running: Callable[[], dict[int, Stream]]
    waiting: Callable[[], bool]
    stopping: Callable[[], bool]
    keep: Callable[[Stream, int], None]
    forget: Callable[[], None]
    guessed: Callable[[int, int], None]


def fresh(device: Device) -> State:
    """Return the state of an engine without requests."""
    return State(device.new_cache(), (), new_turn(device.new_rows(), device.layout))


def seat(device: Device, slot: int, stream: Stream, held: Held) -> Seat:
    """Return the seat of a stream that joins: what the prefix cache holds is not read again."""
    chunks = spans(len(stream.job.prompt), device.layout.chunk, held.hits)
    return Seat(slot, stream, held, iter(enumerate(chunks, held.hits)))


def still(seats: Iterable[Seat], desk: Desk) -> tuple[Seat, ...]:
    """Return the seats whose streams have not ended."""
    running = desk.running()
    return tuple(place for place in seats if running.get(place.slot) is place.stream)


def table_of(device: Device, place: Seat) -> np.ndarray:
    """Return the pages of a seat, i32 [N], and page 0 after the last."""
    table = np.zeros(device.layout.table, np.int32)
    table[:len(place.held.table)] = place.held.table
    return table
