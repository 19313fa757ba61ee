"""Around every HTTP request: who asks, what was noted of it, and what is to be done after it.

An ASGI middleware, outermost of ours: it sees the last byte of a streamed answer leave. A caller
inside this process (a batch) brings a Call of its own, and is not asked for a key.
"""

import re
import secrets
import time
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from absl import logging
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ssljax.core.errors import RequestError
from ssljax.serve.caller import Caller
from ssljax.serve.http import refusal
from ssljax.serve.served import Call, Server

OPEN = frozenset(("/healthz", "/health", "/ready", "/v2/health/live", "/v2/health/ready"))
REQUEST_ID = re.compile(rb"[\w.:-]{1,64}", re.ASCII)    # what is taken from x-request-id

Facts = MutableMapping[str, Any]
Ends = list[Callable[[], None]]      # of a call, the last one first


def with_calls(app: ASGIApp, server: Server) -> ASGIApp:
    """Return `app` with a Call in every request's state, behind the check of its key."""
    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.setdefault("state", {})
        if scope["type"] != "http" or "call" in state:
            await app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        facts: dict[str, Any] = {"route": scope["path"], "method": scope["method"]}
        ends: Ends = []
        try:
            answer = app
            try:
                caller = admit(server, scope["path"], headers, ends, facts)
            except RequestError as err:
                caller, answer = Caller(), refusal(err)
            call = make_call(headers, caller, facts, ends)
            ends.append(lambda: settle(server, call, facts))
            state["call"] = call
            await answer(scope, receive, sending(send, call, facts))
        finally:
            end(ends)

    return called


def end(ends: Sequence[Callable[[], None]]) -> None:
    """Call all, the last one first, whatever becomes of one of them."""
    for function in reversed(ends):
        try:
            function()
        except Exception as err:         # a limit would stay used up, a version never unload
            logging.error("What follows a call failed: %s", err, exc_info=err)


def admit(server: Server, path: str, headers: MutableMapping[bytes, bytes], ends: Ends,
          facts: Facts) -> Caller:
    """Return who asks, and see to it that he is counted out again.

    Raises:
        RequestError: the key is unknown (401), over a limit (429), or no administrator's (403).
    """
    if path in OPEN:
        return Caller()
    caller = server.keys.enter(headers.get(b"authorization", b""))
    ends.append(lambda: server.keys.leave(
        caller, facts.get("prompt_tokens", 0) + facts.get("completion_tokens", 0)))
    server.gate.enter()
    ends.append(server.gate.leave)
    facts["caller"] = caller.id
    if path.startswith("/admin/") and not caller.admin:
        raise RequestError("This needs the key of an administrator: `ssljax keys add FILE --name "
                           "NAME --admin`, and `ssljax serve ... --keys FILE`.", status=403,
                           code="not_an_administrator")
    return caller


def make_call(headers: MutableMapping[bytes, bytes], caller: Caller, facts: Facts,
              ends: Ends) -> Call:
    """Return the call of a request; clients may name it, for their own logs and for stickiness."""
    given = headers.get(b"x-request-id", b"")
    name = given.decode() if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    return Call(name, caller, time.monotonic(), int(time.time()), facts.update, ends.append)


def sending(send: Send, call: Call, facts: Facts) -> Send:
    """Return `send` that names the request, and notes the status unless a truer one is noted."""
    async def pass_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            facts.setdefault("status", message["status"])
            message["headers"] = [*message.get("headers", ()),
                                  (b"x-request-id", call.id.encode())]
        await send(message)

    return pass_on


def settle(server: Server, call: Call, facts: Facts) -> None:
    """Count and log a call; runs after the notes of all that was done in it, before it leaves."""
    facts["seconds"] = time.monotonic() - call.arrival
    if "model" in facts:
        metrics = server.metrics.of(facts["model"], facts["version"])
        metrics.request(facts.get("status", 500), facts["seconds"])
    if facts["route"] not in OPEN:
        server.log({"time": call.created, "request": call.id, **facts})
