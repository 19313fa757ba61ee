"""One pane: ask its contestant, pass on every part at once, time it.

Reads a contestant and what it is asked; calls `show` with plain JSON for the page as parts arrive.
Seconds count from the moment the request leaves here, so that they hold for models of this server
and of others alike.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ssljax.serve.arena.asking import Ask, path_and_body
from ssljax.serve.arena.contestants import FAILURES, Contestant, headers_for, read_whole, say
from ssljax.serve.arena.events import DONE, Delta, make_reader, read_delta
from ssljax.serve.arena.transports import Answer, BrokenAnswerError

LONGEST_TEXT = 1 << 20           # characters of one pane

Show = Callable[[dict[str, Any]], Awaitable[None]]


class Pane:
    """What a pane holds so far; becomes part of the round's transcript."""

    def __init__(self, contestant: Contestant):
        """Begin empty."""
        self.contestant = contestant
        self.text = ""
        self.finish: str | None = None       # the server's word; "stopped" by the page; "error"
        self.error: str | None = None
        self.tokens: int | None = None
        self.counted = False                 # whether the server counted them, or we its parts
        self.first_seconds: float | None = None
        self.seconds = 0.0

    def figures(self) -> dict[str, Any]:
        """Return how the answer ended and how fast it was: of what came after the first part."""
        after = self.seconds - (self.first_seconds or 0.0)
        rate = ((self.tokens - 1) / after if self.tokens and self.tokens > 1 and after > 0
                else None)
        return {"finish": self.finish, "error": self.error, "tokens": self.tokens,
                "counted": self.counted, "first_seconds": self.first_seconds,
                "seconds": self.seconds, "tokens_per_second": rate}

    def record(self) -> dict[str, Any]:
        """Return what is stored of it."""
        return {"model": self.contestant.name, "fingerprint": self.contestant.fingerprint,
                "text": self.text, **self.figures()}


async def fill(pane: Pane, ask: Ask, authorization: str, show: Show) -> None:
    """Fill `pane`; whatever goes wrong is its own error and leaves the others alone."""
    path, body = path_and_body(ask, pane.contestant.model)
    began, endpoint = time.monotonic(), pane.contestant.endpoint
    try:
        async with endpoint.send("POST", path, json.dumps(body).encode(),
                                 headers_for(endpoint, authorization)) as answer:
            async for delta in deltas(answer):
                await take(pane, delta, time.monotonic() - began, show)
    except asyncio.CancelledError:
        pane.finish = "stopped"
        raise
    except FAILURES as err:
        pane.error = say(err)
    except ValueError as err:
        pane.error = f"The server streams what cannot be read: {err}."
    finally:
        pane.seconds = time.monotonic() - began
        if pane.error is not None:
            pane.finish = "error"


async def deltas(answer: Answer) -> AsyncIterator[Delta]:
    """Yield what each event of an answer adds; of one that is not streamed, the whole."""
    if answer.status != 200 or "text/event-stream" not in answer.kind:
        data = (await read_whole(answer)).decode("utf-8", "replace")
        delta = read_delta(data)
        if answer.status != 200:
            yield Delta(error=delta.error if delta.error and "not JSON" not in delta.error
                        else f"The server answered {answer.status}.")
        else:
            yield delta
        return
    read = make_reader()
    async for part in answer.parts:
        for data in read(part):
            if data == DONE:
                return
            yield read_delta(data)


async def take(pane: Pane, delta: Delta, seconds: float, show: Show) -> None:
    """Add one delta to a pane and show it."""
    if delta.error is not None:
        pane.error = delta.error
        return
    if delta.text:
        if pane.first_seconds is None:
            pane.first_seconds = seconds
        pane.text += delta.text
        if len(pane.text) > LONGEST_TEXT:
            raise BrokenAnswerError(f"The answer has more than {LONGEST_TEXT} characters.")
        if not pane.counted:
            pane.tokens = (pane.tokens or 0) + max(1, len(delta.tokens))
        part: dict[str, Any] = {"text": delta.text}
        if delta.tokens:
            part["tokens"] = delta.tokens
        await show(part)
    if delta.finish is not None:
        pane.finish = delta.finish
    if delta.count is not None:
        pane.tokens, pane.counted = delta.count, True
