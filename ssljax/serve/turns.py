"""What the engine's thread does in a turn: read one chunk of one prompt, decode some tokens of all.

Running streams pause for one chunk at most. The state is the device's cache and, on the host, what
each slot holds; requests join by `seat`, and leave when their slot is another's or nobody's.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from absl import logging

from ssljax.core.errors import RequestError
from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.device import ENDS, NO_TOKEN, Cache, Device, Turn, new_turn
from ssljax.serve.guides import Guide
from ssljax.serve.jobs import Job, Piece, Scored
from ssljax.serve.layout import bucket_of, spans, steps_of
from ssljax.serve.pages import Held
from ssljax.serve.rows import Rows, write_allowed, write_idle, write_row, write_token
from ssljax.serve.text import opening


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
    """

    join: Callable[[], Sequence[tuple[int, Stream, Held]]]
    running: Callable[[], dict[int, Stream]]
    waiting: Callable[[], bool]
    stopping: Callable[[], bool]
    keep: Callable[[Stream, int], None]
    forget: Callable[[], None]


def run_device(device: Device, tokenizer: Tokenizer, desk: Desk) -> None:
    """Serve until `desk` says stop.

    When the device fails and the cache is gone, all whose tokens it held end with an error, and the
    next request finds an empty one.
    """
    state = fresh(device)
    while True:
        joined = desk.join()
        if desk.stopping():
            return
        seats = (*state.seats, *(seat(device, *new) for new in joined))
        state = state._replace(seats=still(seats, desk))
        try:
            state = read_next(device, tokenizer, state, desk)
            state = decode(device, state._replace(seats=still(state.seats, desk)), desk)
        except Exception as err:
            end_failed([place.stream for place in state.seats], err)
            desk.forget()
            state = fresh(device)


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


def read_next(device: Device, tokenizer: Tokenizer, state: State, desk: Desk) -> State:
    """Read the next chunk of the prompt that came first, and its first token after the last one.

    What fails before the shared cache is touched ends this stream only.
    """
    place = next((place for place in state.seats if not place.ready), None)
    if place is None:
        return state
    stream, prompt = place.stream, place.stream.job.prompt
    try:
        if not (place.opened or opened(device, tokenizer, place)):
            return state
        number, (start, stop) = next(place.unread)
        cache, logits = device.read(state.cache, prompt[start:stop], start, table_of(device, place))
        state = state._replace(cache=cache)
        if stop < len(prompt):
            logits.block_until_ready()       # or the pause of the others would be several chunks
        else:
            begin(device, state.turn, place, logits)
    except Exception as err:
        if is_lost(state.cache):
            raise
        end_failed([stream], err)
        return state
    if number < len(place.held.keys):
        desk.keep(stream, number)
    return state


def opened(device: Device, tokenizer: Tokenizer, place: Seat) -> bool:
    """Deliver what precedes the first token; say whether more is to come."""
    job = place.stream.job
    judged = device.score(job.prompt) if job.echo and job.logprobs is not None else ()
    first = opening(job, tokenizer, judged)
    place.opened = True
    return not (first.text or first.scored or first.finish) or place.stream.send(first)


def begin(device: Device, turn: Turn, place: Seat, logits: jax.Array) -> None:
    """Draw and deliver the first token of a stream whose prompt has been read; it decodes next."""
    stream, slot = place.stream, place.slot
    row = device.make_row(stream.job)
    if stream.guide is not None:
        write_allowed(row, 0, stream.guide.allowed())
    scored = device.first(logits, row)
    place.ready = True
    if not stream.send(stream.feed(scored)):
        return
    write_row(turn.rows, slot, row)
    write_token(turn.rows, slot, scored.token)
    turn.table[slot] = table_of(device, place)
    turn.left[slot] = stream.job.max_tokens - 1
    turn.ends[slot] = NO_TOKEN
    ends = ends_of(stream.job, device.end)[:ENDS]
    turn.ends[slot, :len(ends)] = ends


def decode(device: Device, state: State, desk: Desk) -> State:
    """Decode some tokens of every slot whose prompt has been read, and deliver them."""
    turn, layout = state.turn, device.layout
    busy = [place for place in state.seats if place.ready and guided(turn.rows, place)]
    if not busy:
        return state
    slots = [place.slot for place in busy]
    idle = np.setdiff1d(np.arange(layout.slots), slots)
    write_idle(turn.rows, idle)
    turn.left[idle] = 0
    steps = 1 if any(place.stream.guide for place in busy) else steps_of(
        state.steps, layout, reading=len(busy) < len(state.seats), waiting=desk.waiting(),
        left=turn.left[slots].tolist())
    rows = layout.rows[-1] if len(layout.rows) == 1 else bucket_of(len(busy), layout)
    chosen = np.arange(layout.slots) if rows == layout.slots else np.append(slots, idle)[:rows]
    cache, drawn = device.decode(state.cache, part(turn, chosen), steps)
    place_of = dict(zip(chosen.tolist(), range(rows), strict=True))
    for place in busy:
        deliver(turn, place, [step[place_of[place.slot]] for step in drawn])
    return state._replace(cache=cache, steps=steps)


def deliver(turn: Turn, place: Seat, scored: Sequence[Scored]) -> None:
    """Hand a stream its tokens until it ends; what the device drew after that is nobody's."""
    for one in scored:
        write_token(turn.rows, place.slot, one.token)
        turn.left[place.slot] -= 1
        if not place.stream.send(place.stream.feed(one)):
            return


def part(turn: Turn, chosen: np.ndarray) -> Turn:
    """Return the rows of `turn` at `chosen`."""
    rows, *others = turn
    return Turn(Rows(*(x[chosen] for x in rows)), *(x[chosen] for x in others))


def table_of(device: Device, place: Seat) -> np.ndarray:
    """Return the pages of a seat, i32 [N], and page 0 after the last."""
    table = np.zeros(device.layout.table, np.int32)
    table[:len(place.held.table)] = place.held.table
    return table


def guided(rows: Rows, place: Seat) -> bool:
    """Write which tokens may come next, if a grammar says; end the stream if it cannot say."""
    try:
        if place.stream.guide is not None:
            write_allowed(rows, place.slot, place.stream.guide.allowed())
    except RequestError as err:
        return place.stream.send(Piece(error=str(err), status=err.status, code=err.code))
    return True


def ends_of(job: Job, end: int) -> tuple[int, ...]:
    """Return the tokens that end the text of `job`."""
    return (*(() if job.ignore_eos else (end,)), *job.stop_ids)


def is_lost(cache: Cache) -> bool:
    """Say whether a failed call had consumed the cache."""
    return any(leaf.is_deleted() for leaf in jax.tree.leaves(cache))


def end_failed(streams: Iterable[Stream], err: Exception) -> None:
    """End `streams` with the message that the device failed."""
    logging.error("The device failed: %s", err, exc_info=err)
    for stream in streams:
        stream.send(Piece(error=f"The device failed ({type(err).__name__}); try again."))
