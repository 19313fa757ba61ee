"""POST /v1/completions: prompt to text, whole or streamed by server-sent events.

The engine hands pieces over from its thread; a client that goes away frees its slots.
"""

import time
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ssljax.core.errors import RequestError
from ssljax.serve import answers
from ssljax.serve.completions import parse_completion, read_object
from ssljax.serve.exchange import GONE, Exchange, after, collect, open_exchange, unless_gone
from ssljax.serve.http import call_of, read_body, refuse
from ssljax.serve.served import Server


def routes(server: Server) -> list[BaseRoute]:
    """Return the route of completions."""
    async def completions(request: Request) -> ASGIApp:
        return await complete(request, server)

    return [Route("/v1/completions", completions, methods=["POST"])]


async def complete(request: Request, server: Server) -> ASGIApp:
    """Answer one completion request."""
    call = call_of(request)
    fields = read_object(await read_body(request, server.body))
    served = server.find(fields.get("model"), call)
    engine, tokenizer = served.engine, served.artefact.tokenizer
    if engine is None:
        raise RequestError(f'model "{served.name}" generates no text; see /v1/models.',
                           param="model")
    asked = await run_in_threadpool(parse_completion, fields, served.limits, tokenizer)
    exchange = open_exchange(engine, asked, server.metrics.of(served.name, served.version),
                             call.arrival)
    answer = answers.Answer(f"cmpl-{call.id}", int(time.time()), served.name, asked, tokenizer)
    return await (stream if asked.stream else whole)(request, exchange, answer)


async def whole(request: Request, exchange: Exchange, answer: answers.Answer) -> Response:
    """Return the answer in one piece."""
    try:
        parts, failure = await unless_gone(request.receive, collect(exchange))
        return refuse(failure, 500) if failure else JSONResponse(answers.whole(answer, parts))
    finally:
        exchange.close()


async def stream(request: Request, exchange: Exchange, answer: answers.Answer) -> ASGIApp:
    """Return the answer as events, once its first piece is there: a failure before is a 500."""
    try:
        first = await unless_gone(request.receive, anext(exchange.pieces))
    except BaseException:
        exchange.close()
        raise
    if first[1].error:
        exchange.close()
        return refuse(first[1].error, 500)
    note = call_of(request).note
    note(status=GONE)                    # until the last byte is out

    async def events() -> AsyncIterator[str]:
        tokens = [0] * len(answer.asked.jobs)
        async for index, piece in after(first, exchange.pieces):
            if piece.error is not None:
                note(status=500)
                yield answers.event(answers.error(piece.error, status=500))
                return
            tokens[index] = piece.tokens
            if piece.text or piece.scored or piece.finish:
                yield answers.event(answers.part(answer, index, piece))
        if answer.asked.usage_in_stream:
            yield answers.event(answers.last_part(answer, sum(tokens)))
        yield answers.DONE
        note(status=200)

    response = StreamingResponse(events(), media_type="text/event-stream", headers={
        "Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        try:                             # a client may go before `events` has even begun
            await response(scope, receive, send)
        finally:
            exchange.close()

    return respond
