"""One request in flight: its pieces cross from the engine's thread to the event loop, in order.

Reads jobs, returns an async iterator of pieces; whoever holds the exchange closes it, which frees
the slots of whatever has not ended.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from ssljax.core.errors import RequestError
from ssljax.serve.completions import Completion
from ssljax.serve.engine import Cancel, Engine, StoppedError
from ssljax.serve.jobs import Piece
from ssljax.serve.scheduler import QueueFullError, ShareFullError

GONE = 499             # nginx's status for a client that left; counted, and read by nobody

Pieces = AsyncIterator[tuple[int, Piece]]      # (choice, piece), as they come


class GoneError(Exception):
    """The client went away before its answer was complete."""


class Exchange(NamedTuple):
    """A request that the engine works on.

    pieces: until every choice has finished, or one has an error
    close:  ends what still runs
    """

    pieces: Pieces
    close: Callable[[], None]


def open_exchange(engine: Engine, asked: Completion) -> Exchange:
    """Hand the jobs of a request to the engine; call it on the event loop.

    Raises:
        RequestError: the caller's share of the queue is full (429), all of it is (503), a grammar
            cannot be followed (400), or the engine has stopped (503).
    """
    loop, arrived = asyncio.get_running_loop(), asyncio.Queue()

    def receiver(index: int) -> Callable[[Piece], None]:
        return lambda piece: loop.call_soon_threadsafe(arrived.put_nowait, (index, piece))

    cancel = submit(engine, asked, receiver)
    return Exchange(in_order(arrived, len(asked.jobs)), cancel)


def submit(engine: Engine, asked: Completion,
           receiver: Callable[[int], Callable[[Piece], None]]) -> Cancel:
    """Submit every job, or turn the engine's refusal into an HTTP error."""
    try:
        return engine.submit([(job, receiver(i)) for i, job in enumerate(asked.jobs)])
    except QueueFullError as err:
        mine = isinstance(err, ShareFullError)
        raise RequestError(str(err), status=429 if mine else 503, retry_after=err.retry,
                           code="queue_full" if mine else "server_full") from err
    except StoppedError as err:
        raise RequestError(str(err), status=503, retry_after=1) from err


async def in_order(arrived: asyncio.Queue, left: int) -> Pieces:
    """Yield what arrives until `left` choices have ended, or one has failed."""
    while left:
        index, piece = await arrived.get()
        left = 0 if piece.error is not None else left - (piece.finish is not None)
        yield index, piece


async def after(first: tuple[int, Piece], rest: Pieces) -> Pieces:
    """Yield `first`, then `rest`."""
    yield first
    async for item in rest:
        yield item


async def unless_gone(receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
                      work: Awaitable[Any]) -> Any:
    """Return the result of `work`, which is cancelled when the client goes away.

    Args:
        receive: ASGI's, of a request whose body has been read.
        work: what to wait for.

    Raises:
        GoneError: the client went first.
    """
    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise GoneError
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
