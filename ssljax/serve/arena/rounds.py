"""Rounds: one prompt in several panes at once, then a vote; names are hidden here until it is cast.

A round streams as one answer that carries all panes, since browsers open six connections to a
server and no more. What a blind round hides (names, speeds, messages of failure) never reaches the
page before the vote. Rounds and votes end up in journals; ratings are of the journal of votes.
"""

import asyncio
import contextlib
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool

from ssljax.core.errors import RequestError
from ssljax.serve.arena.asking import Ask
from ssljax.serve.arena.contestants import Contestant
from ssljax.serve.arena.journal import Journal
from ssljax.serve.arena.panes import Pane, fill

OPEN_ROUNDS = 1000               # remembered for a vote; the oldest is forgotten
WAITING = 256                    # parts that wait for a slow page before the panes wait
STOPPING_SECONDS = 1.0           # from a page's leaving to the end of its panes
CHOICES = ("best", "tie", "bad", "skip")
LABELS = "ABCDEF"


class Round:
    """One round, from its first part to its vote."""

    def __init__(self, ask: Ask, contestants: Sequence[Contestant], *, blind: bool, owner: str):
        """Begin; the panes of a blind round are shuffled."""
        order = list(contestants)
        if blind:
            secrets.SystemRandom().shuffle(order)
        self.id = secrets.token_urlsafe(12)
        self.ask, self.blind, self.owner = ask, blind, owner
        self.panes = [Pane(one) for one in order]
        self.began = time.time()             # seconds since 1970
        self.done = asyncio.Event()
        self.judged = False
        self.keep: asyncio.Task | None = None    # asyncio forgets tasks that nobody refers to

    def names(self) -> tuple[str, ...]:
        """Return the models in the order of the panes."""
        return tuple(pane.contestant.name for pane in self.panes)

    def record(self) -> dict[str, Any]:
        """Return the transcript."""
        return {"round": self.id, "time": self.began, "blind": self.blind, **self.ask._asdict(),
                "panes": [pane.record() for pane in self.panes]}

    def reveal(self) -> dict[str, Any]:
        """Return what a blind round has hidden."""
        return {"names": self.names(), "panes": [pane.figures() for pane in self.panes]}


class Rounds(NamedTuple):
    """The rounds of a server.

    start:  (ask, contestants, blind, owner) -> a round
    stream: (round, authorization) -> its events, as bytes of server-sent events
    vote:   (round's id, owner, choice, pane) -> what was hidden. RequestError: unknown round (404),
            unfinished, judged already or with a pane that failed (409), no such choice (400)
    """

    start: Callable[..., Round]
    stream: Callable[[Round, str], AsyncIterator[bytes]]
    vote: Callable[..., Any]


def open_rounds(votes: Journal | None, transcripts: Journal | None,
                on_vote: Callable[[Mapping[str, Any]], None]) -> Rounds:
    """Return the rounds of a server.

    Args:
        votes: where votes go; None refuses them.
        transcripts: where finished rounds go; None keeps none.
        on_vote: is called with every vote that was stored.
    """
    known: OrderedDict[str, Round] = OrderedDict()

    def start(ask: Ask, contestants: Sequence[Contestant], *, blind: bool, owner: str) -> Round:
        one = Round(ask, contestants, blind=blind, owner=owner)
        known[one.id] = one
        while len(known) > OPEN_ROUNDS:
            known.popitem(last=False)
        return one

    async def vote(name: str, owner: str, choice: str, pane: int | None) -> dict[str, Any]:
        one = known.get(name)
        if one is None or one.owner != owner:
            raise RequestError("There is no such round any more; run the prompt again.", status=404)
        with contextlib.suppress(TimeoutError):      # who has just stopped it need not wait
            await asyncio.wait_for(one.done.wait(), STOPPING_SECONDS)
        record = judge(one, choice, pane)
        if record is not None:
            if votes is None:
                raise RequestError("This server keeps no votes; start it with --arena.", status=409)
            one.judged = True                # before the wait: a double click is one vote
            try:
                await run_in_threadpool(votes.append, record)
            except OSError:
                one.judged = False
                raise
            on_vote(record)
        one.judged = True
        return one.reveal()

    return Rounds(start, lambda one, authorization: stream(one, authorization, transcripts), vote)


def judge(one: Round, choice: str, pane: int | None) -> dict[str, Any] | None:
    """Return the record of a vote on a round, None if it was skipped.

    Raises:
        RequestError: this round cannot be judged, or not so.
    """
    if choice not in CHOICES:
        raise RequestError(f"choice is {str(choice)[:40]!r}; expected one of {', '.join(CHOICES)}.",
                           param="choice")
    if not one.done.is_set():
        raise RequestError("This round is still being written; vote when it has ended, or stop it.",
                           status=409)
    if one.judged:
        raise RequestError("This round has its vote.", status=409)
    if choice == "skip":
        return None
    if len(one.panes) < 2 or any(p.error is not None or not p.text for p in one.panes):
        raise RequestError("A round with one pane, or with a pane that failed, is no comparison; "
                           "skip it.", status=409)
    if choice == "best" and (type(pane) is not int or not 0 <= pane < len(one.panes)):
        raise RequestError(f"pane is {str(pane)[:40]}; expected 0 to {len(one.panes) - 1}.",
                           param="pane")
    names = one.names()
    return {"time": time.time(), "round": one.id, "shown": list(names), "choice": choice,
            "best": [names[pane]] if choice == "best" and pane is not None else list(names),
            "blind": one.blind, "mode": one.ask.mode,
            "fingerprints": [p.contestant.fingerprint for p in one.panes]}


async def stream(one: Round, authorization: str, transcripts: Journal | None
                 ) -> AsyncIterator[bytes]:
    """Yield the events of a round: who is there, parts of every pane as they come, ends."""
    shown: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WAITING)

    async def run(index: int, pane: Pane) -> None:
        async def show(part: dict[str, Any]) -> None:
            await shown.put({"pane": index, **part})

        await fill(pane, one.ask, authorization, show)
        await shown.put({"pane": index, "ended": ending(one, pane)})

    yield event(opening(one))
    tasks = [asyncio.create_task(run(i, pane)) for i, pane in enumerate(one.panes)]
    try:
        left = len(tasks)
        while left:
            part = await shown.get()
            left -= "ended" in part
            yield event(part)
    finally:
        # A task of its own: a page that has gone takes the right to wait with it.
        finishing = asyncio.create_task(finish(one, tasks, transcripts))
        one.keep = finishing
    await finishing
    yield event({"end": True})


async def finish(one: Round, tasks: Sequence[asyncio.Task], transcripts: Journal | None) -> None:
    """End what still runs of a round, and store it."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    one.done.set()
    if transcripts is not None:
        await run_in_threadpool(transcripts.append, one.record())


def opening(one: Round) -> dict[str, Any]:
    """Return the first event of a round."""
    names = [None] * len(one.panes) if one.blind else one.names()
    return {"round": one.id, "seed": one.ask.seed, "blind": one.blind,
            "panes": [{"label": label, "name": name}
                      for label, name in zip(LABELS, names, strict=False)]}


def ending(one: Round, pane: Pane) -> dict[str, Any]:
    """Return how a pane ended; of a blind one only whether it failed."""
    figures = pane.figures()
    if not one.blind:
        return figures
    hidden = "This pane failed; why is shown once names are." if pane.error is not None else None
    return {"error": hidden, "finish": "error" if hidden else "hidden"}


def event(data: Mapping[str, Any]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"
