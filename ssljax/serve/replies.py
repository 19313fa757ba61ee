"""The answer to a request for text, in the shape of its route: in one piece or as events.

The engine hands pieces over from its thread; a client that goes away frees its slots.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ssljax.core.errors import RequestError
from ssljax.serve.answers import DONE, Answer, Json, error, event
from ssljax.serve.exchange import GONE, Came, Exchange, after, unless_gone
from ssljax.serve.http import JsonResponse, call_of
from ssljax.serve.jobs import Piece


class Form(NamedTuple):
    """The shape of a route's answers.

    whole:   (answer, pieces by choice) -> the answer in one piece
    opening: (answer) -> events before any text
    part:    (answer, choice, piece) -> an event
    counts:  (answer, tokens generated) -> the event with the usage, where it is asked for
    done:    what ends a stream, if anything
    """

    whole: Callable[[Answer, Sequence[Sequence[Piece]]], Json]
    opening: Callable[[Answer], list[Json]]
    part: Callable[[Answer, int, Piece], Json]
    counts: Callable[[Answer, int], Json]
    done: str = DONE


async def reply(request: Request, exchange: Exchange, answer: Answer, form: Form) -> ASGIApp:
    """Return the answer to a request that the engine works on."""
    return await (stream if answer.asked.stream else whole)(request, exchange, answer, form)


async def whole(request: Request, exchange: Exchange, answer: Answer, form: Form) -> Response:
    """Return the answer in one piece."""
    try:
        parts, failed = await unless_gone(request.receive, collect(exchange))
        if failed:
            raise failure(failed)
        return JsonResponse(form.whole(answer, parts))
    finally:
        exchange.close()


async def stream(request: Request, exchange: Exchange, answer: Answer, form: Form) -> ASGIApp:
    """Return the answer as events, once its first piece is there: a failure before has a status."""
    try:
        first = await unless_gone(request.receive, anext(exchange.pieces))
    except BaseException:
        exchange.close()
        raise
    if first[0][1].error:
        exchange.close()
        raise failure(first[0][1])
    events = events_of(exchange, answer, form, first, call_of(request).note)
    response = StreamingResponse(events, media_type="text/event-stream", headers={
        "Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        try:                             # a client may go before `events` has even begun
            await response(scope, receive, send)
        finally:
            exchange.close()

    return respond


async def events_of(exchange: Exchange, answer: Answer, form: Form, first: Came,
                    note: Callable[..., None]) -> AsyncIterator[str]:
    """Yield the events of a stream whose first pieces are there; those that came together in one.

    An event for each piece, and a write to the socket, which costs as much as the event, for all.
    """
    note(status=GONE)                    # until the last byte is out
    tokens = [0] * len(answer.asked.jobs)
    # With the usage at the end, all events before it have the field, as OpenAI's do.
    blank = {"usage": None} if answer.asked.usage_in_stream else {}
    events = [event(each | blank) for each in form.opening(answer)]
    async for came in after(first, exchange.pieces):
        for index, piece in came:
            if piece.error is not None:
                note(status=piece.status)
                events.append(event(error(piece.error, status=piece.status, code=piece.code)))
                yield "".join(events)
                return
            tokens[index] = piece.tokens
            if piece.text or piece.scored or piece.finish:
                events.append(event(form.part(answer, index, piece) | blank))
        if events:
            yield "".join(events)
        events = []
    if answer.asked.usage_in_stream:
        yield event(form.counts(answer, sum(tokens)))
    if form.done:
        yield form.done
    note(status=200)


async def collect(exchange: Exchange) -> tuple[list[list[Piece]], Piece | None]:
    """Return all pieces by choice, and the one with the error that ended them early, if any."""
    parts: dict[int, list[Piece]] = {}
    async for came in exchange.pieces:
        for index, piece in came:
            parts.setdefault(index, []).append(piece)
            if piece.error is not None:
                return [], piece
    return [parts[index] for index in sorted(parts)], None


def failure(piece: Piece) -> RequestError:
    """Return the error of a request that the engine could not finish; routes say it their way."""
    later = 1.0 if piece.status in (429, 503) else None
    return RequestError(piece.error, status=piece.status, code=piece.code, retry_after=later)
