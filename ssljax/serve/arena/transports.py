"""How a contestant is asked: the application of this process, or a server elsewhere, by HTTP.

Both are a `Send`: nothing is buffered on the way, so a part of an answer is passed on as soon as it
is there, and leaving the context ends the request at the other side.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import httpcore
from starlette.types import ASGIApp, Message

from ssljax.serve.arena.addresses import CheckedBackend

WAITING = 64                     # parts that may wait for the reader before the writer waits
ENDING_SECONDS = 5.0             # that an application has to notice that its client has gone
# Seconds: a model may be loading when it is first asked, so the first byte gets time.
TIMEOUTS = {"connect": 10.0, "read": 120.0, "write": 30.0, "pool": 10.0}
CONNECTIONS = 64
BROKEN = b""                     # no part is empty: after this one there is no more


class Answer(NamedTuple):
    """What comes back: the status, the content type, and the body as it arrives."""

    status: int
    kind: str
    parts: AsyncIterator[bytes]


# (method, path below the base, body, headers) -> the answer, ended on leaving
Send = Callable[[str, str, bytes, Mapping[str, str]], AbstractAsyncContextManager[Answer]]


class BrokenAnswerError(Exception):
    """The other side ended its answer before it was complete."""


def application_transport(app: ASGIApp) -> Send:
    """Return a Send to an ASGI application of this process: no socket, no second serialisation."""
    @contextlib.asynccontextmanager
    async def send(method: str, path: str, body: bytes,
                   headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        arrived: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)
        started = asyncio.get_running_loop().create_future()
        asked, gone = False, asyncio.Event()

        async def receive() -> Message:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def take(message: Message) -> None:
            if gone.is_set():
                return
            if message["type"] == "http.response.start":
                started.set_result((message["status"], dict(message["headers"])))
            elif message["type"] == "http.response.body":
                if message.get("body"):
                    await arrived.put(message["body"])
                if not message.get("more_body"):
                    await arrived.put(None)

        async def run() -> None:
            try:
                await app(scope_of(method, path, headers), receive, take)
            finally:
                if not gone.is_set():
                    await arrived.put(BROKEN)

        task = asyncio.create_task(run())
        try:
            await asyncio.wait((task, started), return_when=asyncio.FIRST_COMPLETED)
            if not started.done():
                raise BrokenAnswerError("The server gave no answer.") from task.exception()
            status, found = started.result()
            yield Answer(status, found.get(b"content-type", b"").decode("latin-1"),
                         read_parts(arrived))
        finally:
            gone.set()
            await end(task, arrived)

    return send


def scope_of(method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the ASGI scope of a request from within."""
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1"))
             for name, value in headers.items()]
    # From spec_version 2.4 on, an application learns of a client's leaving by `send` raising;
    # before, by receiving "http.disconnect", which reaches it while it waits for its next part too.
    return {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1", "method": method, "scheme": "http", "path": path,
            "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": pairs,
            "client": None, "server": None, "state": {}}


async def read_parts(arrived: asyncio.Queue) -> AsyncIterator[bytes]:
    """Yield the parts of a body up to its end.

    Raises:
        BrokenAnswerError: the application ended without it.
    """
    while (part := await arrived.get()) is not None:
        if part is BROKEN:
            raise BrokenAnswerError("The answer broke off.")
        yield part


async def end(task: asyncio.Task, arrived: asyncio.Queue) -> None:
    """Wait until an application has noticed that nobody reads; what it raised was for its log."""
    while not arrived.empty():                       # whoever waits to write goes on, and ends
        arrived.get_nowait()
    await asyncio.wait((task,), timeout=ENDING_SECONDS)
    if not task.cancel() and not task.cancelled():
        task.exception()                             # asyncio warns of errors nobody looked at


def http_transport(url: str, *, allow_private: bool) -> Send:
    """Return a Send to the server at `url`, with connections kept open; redirects are answers.

    Args:
        url: base, such as https://host:8000/v1; paths are appended.
        allow_private: whether it may be on loopback or in a private network.
    """
    pool = httpcore.AsyncConnectionPool(
        max_connections=CONNECTIONS, network_backend=CheckedBackend(allow_private=allow_private))

    @contextlib.asynccontextmanager
    async def send(method: str, path: str, body: bytes,
                   headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        async with pool.stream(method, url + path.removeprefix("/v1"), content=body or None,
                               headers=dict(headers), extensions={"timeout": TIMEOUTS}) as answer:
            kinds = [value for name, value in answer.headers if name.lower() == b"content-type"]
            yield Answer(answer.status, b"".join(kinds[:1]).decode("latin-1"),
                         answer.aiter_stream())

    return send
