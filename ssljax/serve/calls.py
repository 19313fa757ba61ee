"""Around every HTTP request: who asks, what was noted of it, and what is to be done after it.

An ASGI middleware, outermost of ours: it sees the last byte of a streamed answer leave.
"""

import contextlib
import hmac
import time
import uuid
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ssljax.serve.http import refuse
from ssljax.serve.metrics import ServerMetrics
from ssljax.serve.served import Call, Caller, Server

OPEN = ("/healthz", "/health", "/ready")        # the routes that need no key


def with_calls(app: ASGIApp, server: Server) -> ASGIApp:
    """Return `app` with a Call in every request's state, behind the check of its key."""
    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        facts: dict[str, Any] = {}
        with contextlib.ExitStack() as ends:
            call = Call(uuid.uuid4().hex, Caller(), time.monotonic(), facts.update, ends.callback)
            scope.setdefault("state", {})["call"] = call
            ends.callback(count, server, call, facts)
            if allowed(scope, server.api_key):
                await app(scope, receive, seeing_status(send, facts))
            else:
                await no_key()(scope, receive, seeing_status(send, facts))

    return called


def seeing_status(send: Send, facts: MutableMapping[str, Any]) -> Send:
    """Return `send` that notes the status, unless a route has noted a truer one."""
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            facts.setdefault("status", message["status"])
        await send(message)

    return sending


def count(server: Server, call: Call, facts: MutableMapping[str, Any]) -> None:
    """Count a request that has ended, if it was one to a model."""
    metrics: Callable[[], ServerMetrics] | None = facts.get("metrics")
    if metrics is not None:
        metrics.request(facts.get("status", 500), time.monotonic() - call.arrival)


def allowed(scope: Scope, key: str | None) -> bool:
    """Say whether the request has the key, compared in constant time, or needs none."""
    given = dict(scope.get("headers", ())).get(b"authorization", b"")
    return (key is None or scope["path"] in OPEN
            or hmac.compare_digest(given, f"Bearer {key}".encode()))


def no_key() -> ASGIApp:
    """Return the answer to a request without the key."""
    return refuse("This server needs its API key: send the header `Authorization: Bearer KEY`.",
                  401, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
