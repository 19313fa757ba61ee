"""The lines of OpenAI's batch files: requests in, answers out, one JSON object a line.

https://platform.openai.com/docs/guides/batch
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ssljax.serve.checks import show

ENDPOINTS = ("/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/classify")
FIELDS = frozenset(("custom_id", "method", "url", "body"))
MOST_ERRORS = 100                  # that a report of a bad file lists
BLANK = re.compile(rb"\s*")


class Line(NamedTuple):
    """One request: the client's name for it, and what it asks where."""

    custom_id: str
    url: str
    body: Mapping[str, Any]


class LineError(NamedTuple):
    """What is wrong with a line; `line` counts from 1."""

    line: int
    message: str
    param: str | None = None
    code: str = "invalid_request"


def read_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the number, from 1, and the text of every line that is not blank."""
    for number, text in enumerate(lines, 1):
        if not BLANK.fullmatch(text):
            yield number, text


def parse_line(number: int, text: bytes, endpoint: str | None) -> Line | LineError:
    """Return the request of a line, or what is wrong with it.

    Args:
        number: of the line, from 1.
        text: JSON.
        endpoint: that all requests of the file must name; None for any of ENDPOINTS.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as err:
        return LineError(number, f"The line is not JSON: {err}.", code="invalid_json_line")
    if not isinstance(fields, dict) or set(fields) != FIELDS:
        return LineError(number, "Expected an object of custom_id, method, url and body.")
    wanted = (endpoint,) if endpoint else ENDPOINTS
    checks = {
        "custom_id": (isinstance(fields["custom_id"], str) and 0 < len(fields["custom_id"]) <= 512,
                      "a string of 1 to 512 characters"),
        "method": (fields["method"] == "POST", '"POST"'),
        "url": (fields["url"] in wanted, " or ".join(f'"{url}"' for url in wanted)),
        "body": (isinstance(fields["body"], dict) and not fields["body"].get("stream"),
                 "an object without stream")}
    for name, (good, expected) in checks.items():
        if not good:
            return LineError(number, f"{name} is {show(fields[name])}; expected {expected}.", name)
    return Line(fields["custom_id"], fields["url"], fields["body"])


def check_lines(lines: Iterable[bytes], endpoint: str | None) -> tuple[int, list[LineError]]:
    """Return the number of requests in a file, and what is wrong with it, at most MOST_ERRORS."""
    count, seen, errors = 0, set(), []
    for number, text in read_lines(lines):
        line, count = parse_line(number, text, endpoint), count + 1
        if isinstance(line, Line) and line.custom_id in seen:
            line = LineError(number, f"custom_id {show(line.custom_id)} is not the first of its "
                                     "name.", "custom_id", "duplicate_custom_id")
        if isinstance(line, LineError):
            errors.append(line)
        else:
            seen.add(line.custom_id)
    if not count:
        errors.append(LineError(1, "The file has no requests.", code="empty_file"))
    return count, errors[:MOST_ERRORS]


def answer_line(name: str, custom_id: str, status: int, body: Any) -> dict[str, Any]:
    """Return the answer to one request; `name` is the request's id."""
    return {"id": f"batch_req_{name}", "custom_id": custom_id, "error": None,
            "response": {"status_code": status, "request_id": name, "body": body}}
