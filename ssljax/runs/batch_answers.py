"""What a language model says of every row of a table, or its answers to OpenAI's batch requests.

A row's request goes through the server's own application, without a socket: the same checks, the
same answers. A row without a seed draws one from its place and its fields, and a row's tokens do
not depend on who runs beside it, so a job that was killed goes on to the same bytes.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from starlette.types import ASGIApp

from ssljax.core.errors import DataError, ServeError, UnreadableRecordError
from ssljax.core.tokenizer import Tokenizer
from ssljax.runs.batch_tables import Row, answered
from ssljax.serve.app import make_app
from ssljax.serve.artefact import Artefact
from ssljax.serve.batch_lines import ENDPOINTS
from ssljax.serve.batch_runs import answer_all
from ssljax.serve.caller import Caller
from ssljax.serve.inside import Ask
from ssljax.serve.loading import load_served
from ssljax.serve.opening import open_server
from ssljax.serve.served import Served

SLOTS, QUEUE = 8, 64
COLUMNS = {"complete": ("row", "completion", "finish_reason", "tokens", "error"),
           "score": ("row", "token_ids", "logprobs", "error")}
JUDGE = {"max_tokens": 0, "echo": True, "logprobs": 0}       # of a prompt, nothing is written

Answer = Callable[[Sequence[Row], int], list[dict[str, Any]]]


class Site(NamedTuple):
    """A server within this process, and the one model that it serves."""

    app: ASGIApp
    served: Served


@contextmanager
def application(artefact: Path, open_artefact: Callable[[Path], Artefact]) -> Iterator[Site]:
    """Serve an artefact within this process, to nobody else.

    Raises:
        ArtefactError: it is damaged.
        ServeError: it answers nothing.
    """
    server = open_server(lambda path, name, version: load_served(
        path, name, version, slots=SLOTS, queue=QUEUE, open_artefact=open_artefact))
    served = server.models.load(artefact, "", "1", None)
    try:
        yield Site(make_app(server), served)
    finally:
        server.models.close()


def writer(site: Site, function: str, column: str, options: Mapping[str, Any]) -> Answer:
    """Return what completes or scores the texts of a part.

    Args:
        site: from `application`.
        function: "complete" or "score".
        column: of the texts.
        options: of every completion: max_tokens, temperature and their like.

    Raises:
        ServeError: the model writes no text.
    """
    if site.served.engine is None:
        raise ServeError(f'"{site.served.name}" is no language model, and {function} needs one; it '
                         f"can {', '.join(site.served.encoding.functions)}.")
    tokenizer = site.served.artefact.tokenizer
    options = options if function == "complete" else JUDGE

    def told(row: Row, response: Mapping[str, Any] | None) -> dict[str, Any]:
        found, error = body_of(row, response)
        if found is None:
            return dict.fromkeys(COLUMNS[function][1:]) | {"error": error}
        added = (completion_of(found) if function == "complete"
                 else score_of(found, row.cell, tokenizer))
        return added | {"error": None}

    def answer(rows: Sequence[Row], first: int) -> list[dict[str, Any]]:
        asks = {at: ask_for(first + at, "/v1/completions", {**options, "prompt": row.cell})
                for at, row in enumerate(rows) if isinstance(row.cell, str)}
        lines = asyncio.run(answer_all(site.app, [(ask, "") for ask in asks.values()], None))
        responses = {at: line["response"] for at, line in zip(asks, lines, strict=True)}
        return answered(rows, first, column,
                        [told(row, responses.get(at)) for at, row in enumerate(rows)])

    return answer


def body_of(row: Row, response: Mapping[str, Any] | None) -> tuple[Any, str | None]:
    """Return the answer to a row and no error, or none and why."""
    if response is None:
        found = row.cell if isinstance(row.cell, UnreadableRecordError) else \
            f"expected a text, found {type(row.cell).__name__}"
        return None, str(found)
    body = response["body"]
    return (body, None) if response["status_code"] == 200 else (None, body["error"]["message"])


def completion_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a completion adds to its row."""
    [choice] = body["choices"]
    return {"completion": choice["text"], "finish_reason": choice["finish_reason"],
            "tokens": body["usage"]["completion_tokens"]}


def score_of(body: Mapping[str, Any], text: str, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return a text's ids, without the start token, and their log probabilities."""
    [choice] = body["choices"]
    return {"token_ids": list(tokenizer.encode(text)),
            "logprobs": choice["logprobs"]["token_logprobs"]}


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
    whole = {name: value for name, value in row.cell.items() if name != "stream"}
    return url, whole | {"model": None}              # not all endpoints have streams; all, a model


def ask_for(number: int, url: str, body: Mapping[str, Any]) -> Ask:
    """Return the request of a row; nothing in its answer tells when it was made."""
    return Ask(f"row-{number:08d}", url, body, Caller(), 0)
