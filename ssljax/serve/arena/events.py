"""What other servers stream: server-sent events of OpenAI's two kinds, read as they arrive.

Reads bytes in whatever parts the network has made of them; returns what each event adds.
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

LONGEST_EVENT = 1 << 20          # bytes; a server that never ends a line is not to fill the memory
DONE = "[DONE]"

# A token, its log probability, and the most probable tokens with theirs.
Judged = tuple[str, float | None, tuple[tuple[str, float], ...]]


class Delta(NamedTuple):
    """What one event adds to an answer.

    text:   to be appended
    tokens: those of `text`, where the server was asked for log probabilities
    finish: why the answer ends, in the server's word; None while it goes on
    count:  tokens generated, once the server says so
    error:  what the server says went wrong
    """

    text: str = ""
    tokens: tuple[Judged, ...] = ()
    finish: str | None = None
    count: int | None = None
    error: str | None = None


def make_reader() -> Callable[[bytes], list[str]]:
    """Return read(bytes) -> the data of the events that are complete now.

    Raises (the function returned):
        ValueError: an event is longer than LONGEST_EVENT.
    """
    rest, lines = b"", []

    def read(part: bytes) -> list[str]:
        nonlocal rest
        *whole, rest = (rest + part).split(b"\n")
        found = []
        for line in whole:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                lines.append(line[5:].removeprefix(b" ").decode("utf-8", "replace"))
            elif not line and lines:
                found.append("\n".join(lines))
                lines.clear()
        if len(rest) + sum(map(len, lines)) > LONGEST_EVENT:
            raise ValueError(f"an event of more than {LONGEST_EVENT} bytes")
        return found

    return read


def read_delta(data: str) -> Delta:
    """Return what one event's JSON adds; unknown fields add nothing."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return Delta(error="The server sent an event that is not JSON.")
    return delta_of(body) if isinstance(body, dict) else Delta()


def delta_of(body: Mapping[str, Any]) -> Delta:
    """Return what a completion, or a part of one, says; also of an answer that is not streamed."""
    if error := body.get("error"):
        return Delta(error=error_text(error))
    usage, choices = body.get("usage"), body.get("choices")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return Delta(count=whole(count))
    told = first.get("delta") or first.get("message") or {}
    text = first.get("text") or (told.get("content") if isinstance(told, dict) else None)
    finish = first.get("finish_reason")
    return Delta(text if isinstance(text, str) else "", tokens_of(first.get("logprobs")),
                 finish if isinstance(finish, str) else None, whole(count))


def whole(count: Any) -> int | None:
    """Return a count that is one, else None."""
    return count if type(count) is int and count >= 0 else None


def error_text(error: Any) -> str:
    """Return the message of an error object, cut to what fits a pane."""
    message = error.get("message") if isinstance(error, dict) else error
    return str(message)[:500]


def tokens_of(logprobs: Any) -> tuple[Judged, ...]:
    """Return the tokens of a log probabilities object: a chat's, or a completion's."""
    if not isinstance(logprobs, dict):
        return ()
    try:
        if isinstance(logprobs.get("content"), list):
            return tuple((str(t["token"]), float(t["logprob"]), tuple(
                (str(o["token"]), float(o["logprob"])) for o in t.get("top_logprobs") or ()))
                for t in logprobs["content"])
        values = logprobs.get("token_logprobs") or ()
        tops = logprobs.get("top_logprobs") or [None] * len(values)
        return tuple((str(token), None if value is None else float(value), tuple(
            (str(t), float(v)) for t, v in (top or {}).items()))
            for token, value, top in zip(logprobs.get("tokens") or (), values, tops))
    except (TypeError, ValueError, KeyError, AttributeError):
        return ()                    # a dialect we do not read costs the marks, not the text
