"""Requests from inside this process: a batch asks the application as a client would.

So a batch can ask all that a client can, with the same checks and the same answers; no socket and
no HTTP are in between. Answers to such a request are a function of the request: its id and time
come from the batch, and where a seed is not given one is drawn from the batch's input.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from absl import logging
from starlette.types import ASGIApp, Message

from ssljax.serve.answers import error
from ssljax.serve.caller import Caller
from ssljax.serve.served import Call

SEEDED = ("/v1/completions", "/v1/chat/completions")       # the endpoints that draw
BUSY = (429, 503)                  # answers that say: later
# Seconds of such answers until one is taken for good: whoever fits finds room sooner, since a batch
# asks while nobody else waits; whatever does not fit would hold up every batch after it.
PATIENCE = 3600.0
RETRIES, FIRST_WAIT, LONGEST_WAIT = 3, 0.05, 2.0           # of failures; seconds


class Ask(NamedTuple):
    """One request of a batch.

    name:    of the request, unique in the batch
    url:     an endpoint, "/v1/completions"
    body:    its fields
    caller:  who asks
    created: seconds since 1970 that the answer is to carry
    """

    name: str
    url: str
    body: Mapping[str, Any]
    caller: Caller
    created: int


async def ask(app: ASGIApp, request: Ask, *, patience: float = PATIENCE,
              clock: Callable[[], float] = time.monotonic) -> tuple[int, Any]:
    """Return (status, JSON) of one request; one that finds no room asks again while it may.

    Args:
        app: what answers.
        request: to be answered.
        patience: seconds that it asks for room, unless its own max_wait is less.
        clock: seconds.
    """
    failures, wait, end = 0, FIRST_WAIT, clock() + least(request.body.get("max_wait"), patience)
    while True:
        status, body = await ask_once(app, request)
        failures += status >= 500 and status not in BUSY
        if clock() >= end if status in BUSY else status < 500 or failures > RETRIES:
            return status, body
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)


def least(given: Any, patience: float) -> float:
    """Return the lesser one, if what a client has given is a number."""
    return min(given, patience) if isinstance(given, int | float) else patience


async def ask_once(app: ASGIApp, request: Ask) -> tuple[int, Any]:
    """Return (status, JSON) of one attempt."""
    data = json.dumps(filled(request)).encode()
    ended: list[Callable[[], None]] = []
    call = Call(request.name, request.caller, time.monotonic(), request.created, ignore,
                ended.append)
    given, sent = [{"type": "http.request", "body": data}], []

    async def receive() -> Message:
        if given:
            return given.pop()
        await asyncio.Event().wait()     # this client does not go away
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
             "path": request.url, "raw_path": request.url.encode(), "query_string": b"",
             "root_path": "", "scheme": "http", "client": None, "server": None,
             "headers": [(b"content-type", b"application/json")], "state": {"call": call}}
    try:
        await app(scope, receive, send)
    except Exception as err:             # starlette raises a defect again once it has said 500
        logging.error("Request %s of a batch failed: %s", request.name, err, exc_info=err)
        return 500, error("The server failed on this request; its log says why.", status=500)
    finally:
        for function in reversed(ended):
            function()
    return sent[0]["status"], json.loads(b"".join(part.get("body", b"") for part in sent[1:]))


def filled(request: Ask) -> dict[str, Any]:
    """Return the body, with what a client leaves open: a seed of its own, or a batch's patience."""
    body = dict(request.body)
    if request.url not in SEEDED:        # encoders give up after a minute unless told
        body["max_wait"] = body.get("max_wait", PATIENCE)
    elif body.get("seed") is None:
        text = json.dumps([request.name, body], sort_keys=True)
        body["seed"] = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    return body


def ignore(**facts: Any) -> None:
    """Take a note for nobody."""
