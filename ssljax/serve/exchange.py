"""One request in flight: its pieces cross from the engine's thread to the event loop, in order.

Reads jobs, returns an async iterator of pieces; whoever holds the exchange closes it, which frees
the slots of whatever has not ended.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool

from ssljax.core.errors import RequestError
from ssljax.serve.completions import Completion
from ssljax.serve.engine import Cancel, Engine, StoppedError
from ssljax.serve.jobs import Piece
from ssljax.serve.scheduler import QueueFullError, ShareFullError, TooLargeError

GONE = 499             # nginx's status for a client that left; counted, and read by nobody

Came = list[tuple[int, Piece]]                 # (choice, piece) in their order
Pieces = AsyncIterator[Came]                   # those that came together, together


class GoneError(Exception):
    """The client went away before its answer was complete."""


class Exchange(NamedTuple):
    """A request that the engine works on.

    pieces: until every choice has finished, or one has an error
    close:  ends what still runs
    """

    pieces: Pieces
    close: Callable[[], None]


async def open_exchange(engine: Engine, asked: Completion) -> Exchange:
    """Hand the jobs of a request to the engine.

    Raises:
        RequestError: the caller's share of the queue is full (429), all of it is (503), a grammar
            cannot be followed or the queue could never hold them (400), or the engine has stopped
            (503).
    """
    put, take = make_mailbox()

    def receiver(index: int) -> Callable[[Piece], None]:
        return lambda piece: put((index, piece))

    if any(job.grammar for job in asked.jobs):           # compiling one takes up to 0.2 seconds
        cancel = await run_in_threadpool(submit, engine, asked, receiver)
    else:
        cancel = submit(engine, asked, receiver)
    return Exchange(in_order(take, len(asked.jobs)), cancel)


def make_mailbox() -> tuple[Callable[[Any], None], Callable[[], Awaitable[list[Any]]]]:
    """Return (put, take): from any thread to the event loop, which must be the caller's.

    The loop is woken once for all that is put before it looks: a dispatch of eight tokens costs it
    one turn.
    """
    loop, there, awake = asyncio.get_running_loop(), deque(), asyncio.Event()
    called = False

    def put(item: Any) -> None:
        nonlocal called
        there.append(item)               # first: whoever has called already finds it there
        if not called:
            called = True
            loop.call_soon_threadsafe(awake.set)

    async def take() -> list[Any]:
        nonlocal called
        await awake.wait()
        awake.clear()
        called = False                   # first: what is put from here on calls again
        return [there.popleft() for _ in range(len(there))]

    return put, take


def submit(engine: Engine, asked: Completion,
           receiver: Callable[[int], Callable[[Piece], None]]) -> Cancel:
    """Submit every job, or turn the engine's refusal into an HTTP error."""
    try:
        return engine.submit([(job, receiver(i)) for i, job in enumerate(asked.jobs)])
    except QueueFullError as err:
        raise no_room(err) from err
    except StoppedError as err:
        raise RequestError(str(err), status=503, retry_after=1) from err


def no_room(err: QueueFullError) -> RequestError:
    """Return what a client is told whose share of the queue is full (429), or all of it (503).

    One whose request is too large for both is told so (400): to come again would not help.
    """
    if isinstance(err, TooLargeError):
        return RequestError(str(err), param="n", code="request_too_large")
    mine = isinstance(err, ShareFullError)
    return RequestError(str(err), status=429 if mine else 503, retry_after=err.retry,
                        code="queue_full" if mine else "server_full")


async def in_order(take: Callable[[], Awaitable[Came]], left: int) -> Pieces:
    """Yield what arrives until `left` choices have ended, or one has failed."""
    while left > 0:
        came = await take()
        for _, piece in came:
            left = 0 if piece.error is not None else left - (piece.finish is not None)
        if came:
            yield came


async def after(first: Came, rest: Pieces) -> Pieces:
    """Yield `first`, then `rest`."""
    yield first
    async for came in rest:
        yield came


async def unless_gone(receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
                      work: Awaitable[Any]) -> Any:
    """Return the result of `work`, which is cancelled when the client goes away.

    Args:
        receive: ASGI's, of a request whose body has been read.
        work: what to wait for.

    Raises:
        GoneError: the client went first.
    """
    mine, gone = asyncio.current_task(), False

    async def leave() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = mine.cancel()

    leaving = asyncio.ensure_future(leave())     # the only task more: each costs 10 microseconds
    try:
        return await work
    except asyncio.CancelledError as err:
        if gone and not mine.uncancel():         # else somebody else wants this task to end
            raise GoneError from err
        raise
    finally:
        leaving.cancel()
