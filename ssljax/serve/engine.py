"""Continuous batching: one thread owns the device; requests join and leave between decode steps.

The interface of JetStream's engine (prefill, insert, generate over slots) fits fixed shapes:
https://github.com/AI-Hypercomputer/JetStream. Between two steps at most one prompt is read, so the
running streams pause for one prefill at most.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from absl import logging

from ssljax.core.errors import RequestError
from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.device import Cache, Device
from ssljax.serve.guides import Guide, make_guides
from ssljax.serve.jobs import Job, Piece, Scored
from ssljax.serve.rows import Rows, write_allowed, write_idle, write_row, write_token
from ssljax.serve.scheduler import Running, admit, empty_plan, enqueue, remove, running
from ssljax.serve.text import make_feed, opening

Deliver = Callable[[Piece], None]      # called from the engine's thread; must not block
Cancel = Callable[[], None]


class StoppedError(Exception):
    """The engine takes no more requests: it was closed, or its device is beyond recovery."""


class Load(NamedTuple):
    """Requests that wait, slots in use, slots in all, and whether the engine lives."""

    waiting: int
    busy: int
    slots: int
    alive: bool


class Engine(NamedTuple):
    """A running engine.

    submit: jobs, each with its receiver -> cancel, which ends them all. QueueFullError if there is
            no room for all of them, StoppedError once the engine has stopped
    load:   how busy it is now
    close:  stop the thread; what still runs ends with an error
    """

    submit: Callable[[Iterable[tuple[Job, Deliver]]], Cancel]
    load: Callable[[], Load]
    close: Callable[[], None]


@dataclass(frozen=True, eq=False)
class Stream:
    """A job in the engine, compared by identity: two equal requests are still two.

    feed: the next token -> the piece it completes
    guide: says which tokens may come next, where the job has a grammar
    send: deliver a piece, free the slot if it is the last; say whether more may come
    """

    job: Job
    feed: Callable[[Scored], Piece]
    guide: Guide | None
    send: Callable[[Piece], bool]


def start_engine(device: Device, tokenizer: Tokenizer, *, queue: int) -> Engine:
    """Start the thread that serves `device`.

    Args:
        device: from make_device; used by the new thread only.
        tokenizer: of the model.
        queue: requests that may wait for a slot.
    """
    changed, guides = threading.Condition(), make_guides(tokenizer)
    plan, stopping = empty_plan(device.slots), False

    def submit(jobs: Iterable[tuple[Job, Deliver]]) -> Cancel:
        nonlocal plan
        streams = tuple(make_stream(job, tokenizer, deliver, release,
                                    guides(job.grammar) if job.grammar else None)
                        for job, deliver in jobs)
        with changed:
            if stopping:
                raise StoppedError("The engine has stopped.")
            plan = enqueue(plan, streams, queue)
            changed.notify()
        return lambda: release(*streams)

    def release(*streams: Stream) -> None:
        nonlocal plan
        with changed:
            for stream in streams:
                plan = remove(plan, stream)

    def load() -> Load:
        return Load(len(plan.waiting), len(running(plan)), device.slots, thread.is_alive())

    def close() -> None:
        nonlocal stopping
        with changed:
            stopping = True
            changed.notify()
        thread.join()

    def admit_next() -> tuple[int, Stream] | None:
        """Wait until there is something to do; return the (slot, stream) that joins, if any."""
        nonlocal plan
        with changed:
            changed.wait_for(lambda: stopping or plan.waiting or running(plan))
            plan, admitted = admit(plan)
            return admitted

    def serve() -> None:
        try:
            run_device(device, tokenizer, admit_next=admit_next, streams=lambda: running(plan),
                       stopping=lambda: stopping)
        finally:
            end_all()

    def end_all() -> None:
        nonlocal stopping
        with changed:
            stopping = True
            left = [*plan.waiting, *(stream for _, stream in running(plan))]
        for stream in left:
            stream.send(Piece(error="The server is shutting down."))

    thread = threading.Thread(target=serve, name="ssljax-engine", daemon=True)
    thread.start()
    return Engine(submit, load, close)


def make_stream(job: Job, tokenizer: Tokenizer, deliver: Deliver,
                release: Callable[[Stream], None], guide: Guide | None) -> Stream:
    """Return the stream of `job`; its slot is free before its last piece is delivered."""
    def send(piece: Piece) -> bool:
        last = piece.finish is not None or piece.error is not None
        if last:
            release(stream)
        try:
            deliver(piece)
        except Exception as err:         # whoever asked is gone; the others are not to suffer
            logging.warning("An answer could not be delivered, its request ends: %s", err)
            release(stream)
            return False
        return not last

    stream = Stream(job, make_feed(job, tokenizer, guide), guide, send)
    return stream


def run_device(device: Device, tokenizer: Tokenizer, *,
               admit_next: Callable[[], tuple[int, Stream] | None],
               streams: Callable[[], Running], stopping: Callable[[], bool]) -> None:
    """Serve until `stopping`: let one stream join, decode one token of all, again and again.

    When the device fails while all decode, their cache is gone: they end with an error, and the
    next request finds an empty cache.
    """
    cache, rows = device.new_cache(), device.new_rows()
    while True:
        joining = admit_next()
        if stopping():
            return
        try:
            if joining is not None:
                cache = join(device, tokenizer, cache, rows, *joining)
            if busy := streams():
                cache = decode(device, cache, rows, busy)
        except Exception as err:
            end_failed([stream for _, stream in streams()], err)
            cache = device.new_cache()


def join(device: Device, tokenizer: Tokenizer, cache: Cache, rows: Rows, slot: int,
         stream: Stream) -> Cache:
    """Read the prompt of `stream` into `slot` and deliver its first token; return the new cache.

    A failure of the device in here, before the shared cache is touched, ends this stream only.
    """
    job, report = stream.job, stream.job.logprobs is not None
    try:
        judged = device.score(job.prompt) if job.echo and report else ()
        first = opening(job, tokenizer, judged)
        if (first.text or first.scored or first.finish) and not stream.send(first):
            return cache
        row = device.make_row(job)
        if stream.guide is not None:
            write_allowed(row, 0, stream.guide.allowed())
        scored, entries = device.prefill(job.prompt, row)
    except Exception as err:
        end_failed([stream], err)
        return cache
    if not stream.send(stream.feed(scored)):
        return cache
    write_row(rows, slot, row)
    write_token(rows, slot, scored.token)
    return device.insert(cache, entries, slot)


def decode(device: Device, cache: Cache, rows: Rows, busy: Running) -> Cache:
    """Decode one token of every busy slot and deliver it; return the new cache."""
    busy = tuple(one for one in busy if guided(rows, *one))
    write_idle(rows, np.setdiff1d(np.arange(device.slots), [slot for slot, _ in busy]))
    cache, drawn = device.decode(cache, rows)
    for slot, stream in busy:
        write_token(rows, slot, drawn[slot].token)
        stream.send(stream.feed(drawn[slot]))
    return cache


def guided(rows: Rows, slot: int, stream: Stream) -> bool:
    """Write which tokens may come next, if a grammar says; end the stream if it cannot say."""
    try:
        if stream.guide is not None:
            write_allowed(rows, slot, stream.guide.allowed())
    except RequestError as err:
        return stream.send(Piece(error=str(err), status=err.status, code=err.code))
    return True


def end_failed(streams: Iterable[Stream], err: Exception) -> None:
    """End `streams` with the message that the device failed."""
    logging.error("The device failed: %s", err, exc_info=err)
    for stream in streams:
        stream.send(Piece(error=f"The device failed ({type(err).__name__}); try again."))
