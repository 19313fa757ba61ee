"""Answers from within and from elsewhere: as they come, and ended when nobody reads."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Route

from ssljax.serve.arena.transports import BrokenAnswerError, application_transport, http_transport
from ssljax.serve.background import serving


@pytest.fixture
def app():
    """An application with a stream that never ends by itself, and remembers its end."""
    ended = asyncio.Event()

    async def forever(request):
        async def parts():
            try:
                while True:
                    yield "x" * 1000
                    await asyncio.sleep(0)
            finally:
                ended.set()

        return StreamingResponse(parts())

    async def broken(request):
        async def parts():
            yield "begun"
            raise RuntimeError("the device failed")

        return StreamingResponse(parts(), media_type="text/event-stream")

    async def echo(request):
        return PlainTextResponse(await request.body() + request.headers["x-a"].encode())

    async def away(request):
        return RedirectResponse("http://169.254.169.254/")

    app = Starlette(routes=[Route("/v1/forever", forever), Route("/v1/broken", broken),
                            Route("/v1/away", away),
                            Route("/v1/echo", echo, methods=["POST"])])
    app.state.ended = ended
    return app


def test_an_application_is_asked_without_a_socket(app):
    async def ask():
        async with application_transport(app)("POST", "/v1/echo", b"body", {"X-A": "-é"}) as answer:
            return answer.status, answer.kind, b"".join([p async for p in answer.parts])

    status, kind, body = asyncio.run(ask())
    assert (status, body) == (200, "body-é".encode()) and kind.startswith("text/plain")


def test_leaving_ends_an_application_that_never_ends(app):
    async def ask():
        async with application_transport(app)("GET", "/v1/forever", b"", {}) as answer:
            assert len(await anext(answer.parts)) == 1000
        await asyncio.wait_for(app.state.ended.wait(), 5)

    asyncio.run(ask())


def test_an_application_that_breaks_off_is_no_complete_answer(app):
    async def ask():
        async with application_transport(app)("GET", "/v1/broken", b"", {}) as answer:
            assert await anext(answer.parts) == b"begun"
            with pytest.raises(BrokenAnswerError):
                await anext(answer.parts)

    asyncio.run(ask())


def test_an_application_that_gives_no_answer_is_told_so():
    async def silent(scope, receive, send):
        raise RuntimeError("no")

    async def ask():
        async with application_transport(silent)("GET", "/", b"", {}):
            pass

    with pytest.raises(BrokenAnswerError, match="no answer"):
        asyncio.run(ask())


def test_redirects_of_a_server_are_not_followed(app):
    async def ask(url):
        async with http_transport(f"{url}/v1", allow_private=True)(
                "GET", "/v1/away", b"", {}) as answer:
            return answer.status

    with serving(app, grace=1.0) as (url, _):
        assert asyncio.run(ask(url)) == 307
