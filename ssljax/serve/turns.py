"""What the engine's thread does in a turn: read one chunk of one prompt, decode some tokens of all.

Running streams pause for one chunk at most. Requests join with a seat, and leave when their slot is
another's or nobody's.
"""

from collections.abc import Iterable

import jax
from absl import logging

from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.decoding import decode
from ssljax.serve.device import ENDS, NO_TOKEN, Cache, Device, Turn
from ssljax.serve.jobs import Job, Piece
from ssljax.serve.rows import write_allowed, write_row, write_token
from ssljax.serve.seats import Desk, Seat, State, Stream, fresh, seat, still, table_of
from ssljax.serve.text import opening


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
        cache, logits = device.read(state.cache, prompt[start:stop], start, table_of(device, place),
                                    stream.job.adapter.place)
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
    length, context = len(job.prompt) + job.max_tokens, device.layout.context
    if length > context:             # no row has places for it: writing them would fail all
        return place.stream.send(Piece(status=400, error=(
            f"A prompt of {len(job.prompt)} tokens and {job.max_tokens} of an answer are {length}; "
            f"at most {context} together.")))
    judged = (device.score(job.prompt, job.adapter.place)
              if job.echo and job.logprobs is not None else ())
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
