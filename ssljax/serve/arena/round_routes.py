"""Rounds, votes, the ranking, saved prompts and exports over HTTP.

POST /arena/rounds              a round; its panes stream as server-sent events
POST /arena/rounds/ID/vote      {"choice": "best" | "tie" | "bad" | "skip", "pane": 0}
GET  /arena/ranking             ratings with intervals; ?blind=1 of blind votes only
GET  /arena/votes.jsonl, /arena/transcripts.jsonl      transcripts of models that the key may use
POST /arena/prompts             {"name", "prompt"} saves, {"name"} alone forgets
"""

import json
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from ssljax.core.errors import RequestError
from ssljax.serve.arena.asking import choose, read_request
from ssljax.serve.arena.contestants import find_contestants
from ssljax.serve.arena.journal import Journal
from ssljax.serve.arena.state import Arena, guarded
from ssljax.serve.arena.transcripts import lines_for, sees_all
from ssljax.serve.http import read_body

BODY = 1 << 20                   # bytes; a prompt of the longest kind fits
DOWNLOAD = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def routes(arena: Arena) -> list[BaseRoute]:
    """Return the routes of rounds and what comes of them."""
    async def rounds(request: Request, authorization: str) -> Response:
        wanted = read_request(await read_json(request))
        found, _ = await find_contestants(arena.endpoints, authorization)
        one = arena.rounds.start(wanted.ask, choose(found, wanted.names), blind=wanted.blind,
                                 owner=authorization)
        # X-Accel-Buffering: a proxy in front is not to keep the first token back either.
        return StreamingResponse(arena.rounds.stream(one, authorization),
                                 media_type="text/event-stream",
                                 headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def vote(request: Request, authorization: str) -> Response:
        body = await read_json(request)
        return JSONResponse(await arena.rounds.vote(
            request.path_params["id"], authorization, body.get("choice"), body.get("pane")))

    async def ranking(request: Request, authorization: str) -> Response:
        only_blind = request.query_params.get("blind") == "1"
        return JSONResponse(await run_in_threadpool(arena.standings.show, only_blind))

    async def votes(request: Request, authorization: str) -> Response:
        return download(arena.votes)

    async def transcripts(request: Request, authorization: str) -> Response:
        caller, journal = await arena.check(authorization), arena.transcripts
        if caller is None or journal is None or sees_all(caller):
            return download(journal)
        elsewhere = {one.name for one in arena.endpoints if one.name}
        return StreamingResponse(
            lines_for(caller, journal.path, elsewhere), media_type="application/jsonl",
            headers=DOWNLOAD | {"Content-Disposition":
                                f'attachment; filename="{journal.path.name}"'})

    async def prompts(request: Request, authorization: str) -> Response:
        body = await read_json(request)
        name = body.get("name")
        if "prompt" in body:
            await run_in_threadpool(arena.prompts.save, name, body["prompt"])
        else:
            await run_in_threadpool(arena.prompts.forget, str(name))
        return JSONResponse(arena.prompts.all())

    return [Route("/arena/rounds", guarded(arena, rounds), methods=["POST"]),
            Route("/arena/rounds/{id}/vote", guarded(arena, vote), methods=["POST"]),
            Route("/arena/ranking", guarded(arena, ranking)),
            Route("/arena/votes.jsonl", guarded(arena, votes)),
            Route("/arena/transcripts.jsonl", guarded(arena, transcripts)),
            Route("/arena/prompts", guarded(arena, prompts), methods=["POST"])]


async def read_json(request: Request) -> dict[str, Any]:
    """Return the body, a JSON object.

    Raises:
        RequestError: it is none, or too long.
    """
    try:
        body = json.loads(await read_body(request, BODY))
    except (ValueError, RecursionError) as err:
        raise RequestError(f"The body is not JSON: {err}.") from err
    if not isinstance(body, dict):
        raise RequestError("The body is no JSON object.")
    return body


def download(journal: Journal | None) -> Response:
    """Return a journal as a file.

    Raises:
        RequestError: none is kept.
    """
    if journal is None:
        raise RequestError("This server keeps no votes; start it with --arena.", status=404)
    return FileResponse(journal.path, media_type="application/jsonl", filename=journal.path.name,
                        headers=DOWNLOAD)
