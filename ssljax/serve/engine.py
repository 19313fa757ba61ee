"""Continuous batching: one thread owns the device; requests join and leave between its turns.

A request waits until a slot and all the pages it may need are free (serve/pages.py), is read chunk
by chunk and decoded with the others (serve/turns.py). Slots over a cache that lives on the device
are the interface of JetStream's engine, https://github.com/AI-Hypercomputer/JetStream.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from absl import logging

from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.device import Device
from ssljax.serve.guides import Guide, make_guides
from ssljax.serve.jobs import Job, Piece
from ssljax.serve.layout import pages_of
from ssljax.serve.pages import Held, PageCounts, make_pages, prefix_keys
from ssljax.serve.scheduler import (
    Rules,
    Ticket,
    admit,
    empty_plan,
    enqueue,
    expire,
    remove,
    running,
)
from ssljax.serve.seats import Desk, Stream
from ssljax.serve.text import make_feed
from ssljax.serve.turns import run_device

Deliver = Callable[[Piece], None]      # called from the engine's thread; must not block
Cancel = Callable[[], None]


class StoppedError(Exception):
    """The engine takes no more requests: it was closed, or its device is beyond recovery."""


class Load(NamedTuple):
    """Requests that wait, slots in use, slots in all, whether the engine lives, and its pages."""

    waiting: int
    busy: int
    slots: int
    alive: bool
    pages: PageCounts


class Engine(NamedTuple):
    """A running engine.

    submit: jobs of one caller, each with its receiver -> cancel, which ends them all.
            QueueFullError if there is no room for all of them, RequestError if a grammar cannot be
            followed, StoppedError once the engine has stopped
    load:   how busy it is now
    close:  stop the thread; what still runs ends with an error
    """

    submit: Callable[[Iterable[tuple[Job, Deliver]]], Cancel]
    load: Callable[[], Load]
    close: Callable[[], None]


def start_engine(device: Device, tokenizer: Tokenizer, *, queue: int, tokens: float = math.inf,
                 share: float = 1.0, reserve: int = 0,
                 waited: Callable[[float], None] = lambda seconds: None,
                 guessed: Callable[[int, int], None] = lambda guesses, true: None,
                 reused: Callable[[int, int], None] = lambda prompt, found: None) -> Engine:
    """Start the thread that serves `device`.

    Args:
        device: from make_device; used by the new thread only.
        tokenizer: of the model.
        queue: requests that may wait for a slot.
        tokens: of prompts and answers that may wait.
        share: fraction of the queue that one caller may take.
        reserve: slots that one caller cannot take alone, and as large a part of the cache; all but
            one at most.
        waited: told how many seconds each request waited for its slot; must not block.
        guessed: told how many tokens were guessed, and how many of them came true; must not block.
        reused: told how many tokens each prompt has, and how many of them the prefix cache had;
            must not block.
    """
    rules = Rules(queue, tokens, share, min(reserve, device.layout.slots - 1),
                  device.layout.pages * device.layout.page)
    changed, guides, layout = threading.Condition(), make_guides(tokenizer), device.layout
    plan, stopping = empty_plan(layout.slots), False
    pages = make_pages(1, layout.pages, per_chunk=layout.chunk // layout.page)
    holding: dict[Stream, Held] = {}
    since: dict[Stream, float] = {}

    def submit(jobs: Iterable[tuple[Job, Deliver]]) -> Cancel:
        nonlocal plan
        streams = tuple(make_stream(job, tokenizer, deliver, release,
                                    guides(job.grammar) if job.grammar else None)
                        for job, deliver in jobs)
        with changed:
            if stopping:
                raise StoppedError("The engine has stopped.")
            plan = enqueue(plan, tuple(ticket_of(stream) for stream in streams), rules)
            since.update(dict.fromkeys(streams, time.monotonic()))
            changed.notify()
        return lambda: release(*streams)

    def release(*streams: Stream) -> None:
        nonlocal plan
        with changed:
            for stream in streams:
                plan = remove(plan, stream, now=time.monotonic())
                since.pop(stream, None)
                # What the device still writes there is over before another can be given them.
                if (held := holding.pop(stream, None)) is not None:
                    pages.free(held)

    def load() -> Load:
        with changed:
            return Load(len(plan.waiting), len(running(plan)), layout.slots, thread.is_alive(),
                        pages.counts())

    def close() -> None:
        nonlocal stopping
        with changed:
            stopping = True
            changed.notify()
        thread.join()

    def join() -> list[tuple[int, Stream, Held]]:
        nonlocal plan
        with changed:
            changed.wait_for(lambda: stopping or plan.lines or running(plan))
            now, joined = time.monotonic(), []
            plan, late = expire(plan, now)
            while not stopping:
                after, admitted = admit(plan, rules, now=now)
                held = admitted and take(admitted[1].job)
                # Whoever is next waits for its pages; letting smaller ones past could starve it.
                if held is None:
                    break
                plan, (slot, stream) = after, admitted
                holding[stream] = held
                waited(now - since.pop(stream, now))
                reused(len(stream.job.prompt), held.hits * layout.chunk)
                joined.append((slot, stream, held))
        for stream in late:
            stream.send(Piece(error="All slots were busy for as long as the request would wait. "
                                    "Try again later.", status=503, code="deadline_exceeded"))
        return joined

    def take(job: Job) -> Held | None:
        root = device.fingerprint + job.adapter.digest
        return pages.take(prefix_keys(job.prompt, layout.chunk, root),
                          pages_of(len(job.prompt) + job.max_tokens, layout))

    def keep(stream: Stream, chunk: int) -> None:
        with changed:
            if stream in holding:            # else its pages may be another's by now
                pages.keep(holding[stream], chunk)

    def forget() -> None:
        with changed:
            pages.forget()

    def serve() -> None:
        try:
            run_device(device, tokenizer, Desk(
                join, lambda: dict(running(plan)), lambda: bool(plan.lines), lambda: stopping,
                keep, forget, guessed))
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


def ticket_of(stream: Stream) -> Ticket:
    """Return what the scheduler is to know of a stream."""
    job = stream.job
    return Ticket(stream, job.caller, len(job.prompt) + job.max_tokens,
                  math.inf if job.deadline is None else job.deadline)


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
