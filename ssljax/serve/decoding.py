"""Decode some tokens of every slot: several in one dispatch, or guessed and judged at once."""

from collections.abc import Mapping, Sequence

import numpy as np

from ssljax.core.errors import RequestError
from ssljax.serve.device import Device, Turn
from ssljax.serve.jobs import Piece, Scored
from ssljax.serve.layout import Layout, bucket_of, steps_of
from ssljax.serve.rows import Rows, write_allowed, write_idle, write_token
from ssljax.serve.seats import Desk, Seat, State


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
    rows = bucket_of(len(busy), layout)
    chosen = np.arange(layout.slots) if rows == layout.slots else np.append(slots, idle)[:rows]
    row_of = dict(zip(chosen.tolist(), range(rows), strict=True))
    if device.verify is None:
        cache, drawn = device.decode(state.cache, part(turn, chosen), steps)
        own = dict.fromkeys(slots, len(drawn))
    else:
        mine, most = part(turn, chosen), most_guesses(turn, busy, row_of, layout)
        cache, guesses, guessed = device.propose(state.cache, mine, most)
        cache, drawn, accepted = device.verify(cache, mine, guesses, guessed)
        desk.guessed(int(guessed.sum()), int(accepted.sum()))
        own = {slot: int(accepted[row_of[slot]]) + 1 for slot in slots}
    for place in busy:
        row = row_of[place.slot]
        deliver(turn, place, [step[row] for step in drawn[:own[place.slot]]])
    return state._replace(cache=cache, steps=steps)


def most_guesses(turn: Turn, busy: Sequence[Seat], row_of: Mapping[int, int],
                 layout: Layout) -> np.ndarray:
    """Return how many of the next tokens of each row are worth guessing, i32 [B]."""
    most = np.zeros(len(row_of), np.int32)
    for place in busy:
        if place.stream.guide is None:                      # a grammar masks the next token only
            most[row_of[place.slot]] = min(layout.guesses, turn.left[place.slot] - 1)
    return most


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


def guided(rows: Rows, place: Seat) -> bool:
    """Write which tokens may come next, if a grammar says; end the stream if it cannot say."""
    try:
        if place.stream.guide is not None:
            write_allowed(rows, place.slot, place.stream.guide.allowed())
    except RequestError as err:
        return place.stream.send(Piece(error=str(err), status=err.status, code=err.code))
    return True
