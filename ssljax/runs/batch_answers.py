"""Texts for every row of a table, or answers to a file of OpenAI's batch requests, exactly once.

A row's request goes through the server's own application, without a socket: the same checks, the
same answers. A row without a seed draws one from its place and its fields, and a row's tokens do
not depend on who runs beside it, so a job that was killed goes on to the same bytes.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from ssljax.core.errors import DataError, UnreadableRecordError
from ssljax.runs.batch_tables import Row
from ssljax.serve.app import make_app
from ssljax.serve.artefact import Artefact
from ssljax.serve.batch_lines import ENDPOINTS
from ssljax.serve.batch_runs import answer_all
from ssljax.serve.caller import Caller
from ssljax.serve.inside import Ask
from ssljax.serve.loading import load_served
from ssljax.serve.opening import open_server

SLOTS, QUEUE = 8, 64
OURS = ("row", "completion", "finish_reason", "tokens", "error")

Answer = Callable[[Sequence[Row], int], list[dict[str, Any]]]


@contextmanager
def application(artefact: Path, open_artefact: Callable[[Path], Artefact]) -> Iterator[ASGIApp]:
    """Serve an artefact within this process, to nobody else.

    Raises:
        ArtefactError: it is damaged.
        ServeError: it answers nothing.
    """
    server = open_server(lambda path, name, version: load_served(
        path, name, version, slots=SLOTS, queue=QUEUE, open_artefact=open_artefact))
    server.models.load(artefact, "", "1", None)
    try:
        yield make_app(server)
    finally:
        server.models.close()


def completer(app: ASGIApp, column: str, options: Mapping[str, Any]) -> Answer:
    """Return what completes the prompts of a part.

    Args:
        app: from `application`.
        column: of the prompts.
        options: of every request: max_tokens, temperature and their like.
    """
    def answer(rows: Sequence[Row], first: int) -> list[dict[str, Any]]:
        asks = {at: ask_for(first + at, "/v1/completions", {**options, "prompt": row.cell})
                for at, row in enumerate(rows) if isinstance(row.cell, str)}
        lines = asyncio.run(answer_all(app, [(ask, "") for ask in asks.values()], None))
        told = {at: line["response"] for at, line in zip(asks, lines, strict=True)}
        return [{**{k: v for k, v in row.others.items() if k not in (*OURS, column)},
                 "row": first + at, **columns(row, told.get(at))} for at, row in enumerate(rows)]

    return answer


def columns(row: Row, response: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a row's answer adds to it."""
    nothing = {"completion": None, "finish_reason": None, "tokens": None}
    if response is None:
        found = row.cell if isinstance(row.cell, UnreadableRecordError) else \
            f"expected a text, found {type(row.cell).__name__}"
        return nothing | {"error": str(found)}
    if response["status_code"] != 200:
        return nothing | {"error": response["body"]["error"]["message"]}
    [choice] = response["body"]["choices"]
    return {"completion": choice["text"], "finish_reason": choice["finish_reason"],
            "tokens": response["body"]["usage"]["completion_tokens"], "error": None}


def requester(app: ASGIApp) -> Answer:
    """Return what answers OpenAI's batch requests, whose column is `body`."""
    def answer(rows: Sequence[Row], first: int) -> list[dict[str, Any]]:
        asks = [(ask_for(first + at, *request_of(row, first + at)), row.others["custom_id"])
                for at, row in enumerate(rows)]
        return asyncio.run(answer_all(app, asks, None))

    return answer


def request_of(row: Row, number: int) -> tuple[str, Mapping[str, Any]]:
    """Return the endpoint and the body of a row.

    Raises:
        DataError: it is no request of OpenAI's batch format.
    """
    url = row.others.get("url")
    if url not in ENDPOINTS or not isinstance(row.cell, dict) or "custom_id" not in row.others:
        raise DataError(f"Row {number} is no batch request: expected custom_id, method, body, and "
                        f"url as one of {', '.join(ENDPOINTS)}.")
    return url, row.cell | {"stream": False, "model": None}


def ask_for(number: int, url: str, body: Mapping[str, Any]) -> Ask:
    """Return the request of a row; nothing in its answer tells when it was made."""
    return Ask(f"row-{number:08d}", url, body, Caller(), 0)
