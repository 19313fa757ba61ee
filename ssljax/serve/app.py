"""The HTTP side: OpenAI's completions, health, metrics and a page to try prompts on.

    POST /v1/completions   prompt to text, whole or streamed by server-sent events
    GET  /v1/models        the one model
    GET  /healthz          200 while the engine lives; needs no key
    GET  /metrics          Prometheus
    GET  /                 a page for a browser

Everything a client can send wrong gets a 4xx with OpenAI's error object. The engine hands pieces
over from its thread; a client that goes away frees its slots.
"""

import asyncio
import hmac
import importlib.resources
import time
import uuid
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ssljax.core.tokenizer import Tokenizer
from ssljax.serve import answers
from ssljax.serve.completions import Limits, RequestError, parse_completion
from ssljax.serve.engine import Engine
from ssljax.serve.exchange import (
    GONE,
    Exchange,
    GoneError,
    after,
    collect,
    open_exchange,
    unless_gone,
)
from ssljax.serve.metrics import ServerMetrics, make_metrics

BODY_SECONDS = 30.0                # a body that takes longer to arrive is refused
PAGE_POLICY = ("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
               "connect-src 'self'")


def make_app(engine: Engine, tokenizer: Tokenizer, *, limits: Limits,
             api_key: str | None = None) -> Starlette:
    """Return the ASGI application over a running engine.

    Args:
        engine: generates.
        tokenizer: of its model.
        limits: what requests may ask for, and the model's name.
        api_key: when given, every route but /healthz wants `Authorization: Bearer KEY`.
    """
    metrics = make_metrics(limits.model, engine.load)
    page = importlib.resources.files("ssljax.serve").joinpath("page.html").read_text("utf-8")
    created = int(time.time())

    async def completions(request: Request) -> ASGIApp:
        return await complete(request, engine, tokenizer, limits, metrics)

    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{
            "id": limits.model, "object": "model", "created": created, "owned_by": "ssljax",
            "max_model_len": limits.context}]})

    async def health(request: Request) -> Response:
        alive = engine.load().alive
        return JSONResponse({"status": "ok" if alive else "the engine has stopped"},
                            200 if alive else 503)

    async def metrics_text(request: Request) -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def home(request: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY})

    return Starlette(
        routes=[Route("/v1/completions", completions, methods=["POST"]),
                Route("/v1/models", models), Route("/healthz", health),
                Route("/metrics", metrics_text), Route("/", home)],
        middleware=[Middleware(require_key, key=api_key)] if api_key else [],
        exception_handlers={HTTPException: say_http_error, Exception: say_failure})


def require_key(app: ASGIApp, key: str) -> ASGIApp:
    """Return `app` behind a check of the bearer key, in constant time; /healthz stays open."""
    expected = f"Bearer {key}".encode()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if (scope["type"] != "http" or scope["path"] == "/healthz"
                or hmac.compare_digest(given, expected)):
            await app(scope, receive, send)
        else:
            refusal = refuse("This server needs its API key: send the header "
                             "`Authorization: Bearer KEY`.", 401, code="invalid_api_key",
                             headers={"WWW-Authenticate": "Bearer"})
            await refusal(scope, receive, send)

    return guarded


async def complete(request: Request, engine: Engine, tokenizer: Tokenizer, limits: Limits,
                   metrics: ServerMetrics) -> ASGIApp:
    """Answer one completion request, and count it."""
    arrival = time.monotonic()
    try:
        body = await read_body(request, limits.body)
        asked = await run_in_threadpool(parse_completion, body, limits, tokenizer)
        exchange = open_exchange(engine, asked, metrics, arrival)
    except RequestError as err:
        metrics.request(err.status, time.monotonic() - arrival)
        return refuse(str(err), err.status, param=err.param, code=err.code)
    except ClientDisconnect:
        metrics.request(GONE, time.monotonic() - arrival)
        return Response(status_code=GONE)
    answer = answers.Answer(f"cmpl-{uuid.uuid4().hex}", int(time.time()), limits.model, asked,
                            tokenizer)
    return await (stream if asked.stream else whole)(request, exchange, answer)


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body, as soon as it is known to be within the limits of size and time."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    raise RequestError(f"The body has more than {limit} bytes, the most that is "
                                       "read.", status=413)
    except TimeoutError as err:
        raise RequestError(f"The body did not arrive within {BODY_SECONDS:g} seconds.",
                           status=408) from err
    return bytes(body)


async def whole(request: Request, exchange: Exchange, answer: answers.Answer) -> Response:
    """Return the answer in one piece."""
    status = GONE
    try:
        parts, failure = await unless_gone(request.receive, collect(exchange))
        status = 500 if failure else 200
        return refuse(failure, 500) if failure else JSONResponse(answers.whole(answer, parts))
    except GoneError:
        return Response(status_code=GONE)
    finally:
        exchange.close(status)


async def stream(request: Request, exchange: Exchange, answer: answers.Answer) -> ASGIApp:
    """Return the answer as events, once its first piece is there: a failure before is a 500."""
    status = GONE
    try:
        first = await unless_gone(request.receive, anext(exchange.pieces))
        failure = first[1].error
    except BaseException as err:
        exchange.close(GONE)
        if isinstance(err, GoneError):
            return Response(status_code=GONE)
        raise
    if failure:
        exchange.close(500)
        return refuse(failure, 500)

    async def events() -> AsyncIterator[str]:
        nonlocal status
        tokens = [0] * len(answer.asked.jobs)
        async for index, piece in after(first, exchange.pieces):
            if piece.error is not None:
                status = 500
                yield answers.event(answers.error(piece.error, status=status))
                return
            tokens[index] = piece.tokens
            if piece.text or piece.scored or piece.finish:
                yield answers.event(answers.part(answer, index, piece))
        if answer.asked.usage_in_stream:
            yield answers.event(answers.last_part(answer, sum(tokens)))
        yield answers.DONE
        status = 200

    response = StreamingResponse(events(), media_type="text/event-stream", headers={
        "Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        try:                             # a client may go before `events` has even begun
            await response(scope, receive, send)
        finally:
            exchange.close(status)

    return respond


def refuse(message: str, status: int, *, param: str | None = None, code: str | None = None,
           headers: dict[str, str] | None = None) -> Response:
    """Return an error answer."""
    return JSONResponse(answers.error(message, status=status, param=param, code=code), status,
                        headers=headers)


async def say_http_error(request: Request, err: Exception) -> Response:
    """Answer an unknown path or method in the shape of the other errors."""
    message = f"{request.method} {request.url.path}: {err.detail}."
    return refuse(message, err.status_code, headers=err.headers)


async def say_failure(request: Request, err: Exception) -> Response:
    """Answer a defect of the server without its details, which the log has."""
    return refuse("The server failed on this request; its log says why.", 500)
