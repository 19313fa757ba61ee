"""One request in flight: its pieces cross from the engine's thread to the event loop, in order.

Reads jobs, returns an async iterator of pieces; whoever holds the exchange closes it, which frees
the slots of whatever has not ended.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from ssljax.core.errors import RequestError
from ssljax.serve.completions import Completion
from ssljax.serve.engine import Cancel, Engine, StoppedError
from ssljax.serve.jobs import Piece
from ssljax.serve.metrics import ServerMetrics
from ssljax.serve.scheduler import QueueFullError

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


def open_exchange(engine: Engine, asked: Completion, metrics: ServerMetrics,
                  arrival: float) -> Exchange:
    """Hand the jobs of a request to the engine; call it on the event loop.

    Args:
        engine: generates.
        asked: the request.
        metrics: is told of first tokens and of counts.
        arrival: time.monotonic() when the request came.

    Raises:
        RequestError: the queue is full (429), or the engine has stopped (503).
    """
    loop, arrived = asyncio.get_running_loop(), asyncio.Queue()

    def receiver(index: int) -> Callable[[Piece], None]:
        return lambda piece: loop.call_soon_threadsafe(arrived.put_nowait, (index, piece))

    cancel = submit(engine, asked, receiver)
    return Exchange(counted(arrived, asked, metrics, arrival), cancel)


def submit(engine: Engine, asked: Completion,
           receiver: Callable[[int], Callable[[Piece], None]]) -> Cancel:
    """Submit every job, or turn the engine's refusal into an HTTP error."""
    try:
        return engine.submit([(job, receiver(i)) for i, job in enumerate(asked.jobs)])
    except QueueFullError as err:
        raise RequestError(str(err), status=429, code="queue_full") from err
    except StoppedError as err:
        raise RequestError(str(err), status=503) from err


async def counted(arrived: asyncio.Queue, asked: Completion, metrics: ServerMetrics,
                  arrival: float) -> Pieces:
    """Yield what arrives until every choice has ended; report first tokens and their number."""
    metrics.tokens(asked.prompt_tokens, 0)
    seen, left = [0] * len(asked.jobs), len(asked.jobs)
    while left:
        index, piece = await arrived.get()
        if piece.tokens and not seen[index]:
            metrics.first_token(time.monotonic() - arrival)
        metrics.tokens(0, max(0, piece.tokens - seen[index]))
        seen[index] = max(piece.tokens, seen[index])
        left = 0 if piece.error is not None else left - (piece.finish is not None)
        yield index, piece


async def collect(exchange: Exchange) -> tuple[list[list[Piece]], str | None]:
    """Return all pieces by choice, and the error that ended them early, if any."""
    parts: dict[int, list[Piece]] = {}
    async for index, piece in exchange.pieces:
        parts.setdefault(index, []).append(piece)
        if piece.error is not None:
            return [], piece.error
    return [parts[index] for index in sorted(parts)], None


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
