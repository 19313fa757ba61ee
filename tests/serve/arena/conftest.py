"""Servers with scripted models, a comparison page over them, and a real browser to look at it."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ssljax.serve.arena.app import with_arena
from ssljax.serve.arena.contestants import Endpoint
from ssljax.serve.arena.state import Arena, close_arena, open_arena
from ssljax.serve.arena.transports import application_transport
from ssljax.serve.caller import Caller


class Script(NamedTuple):
    """A model that says what it is told to.

    tokens:  its answer
    seconds: before each token
    error:   what it says instead
    """

    tokens: Sequence[str] = ("Hello", " world")
    seconds: float = 0.0
    error: str = ""


def scripted(models: Mapping[str, Script], *, key: str = "") -> Starlette:
    """Return an application that speaks OpenAI's completions; it remembers what it was asked.

    The vector of a text says how often each letter is in it.
    """
    asked: list[dict[str, Any]] = []

    def allowed(request: Request) -> bool:
        return not key or request.headers.get("authorization") == f"Bearer {key}"

    async def listing(request: Request) -> Response:
        if not allowed(request):
            return JSONResponse({"error": {"message": "no key"}}, 401)
        return JSONResponse({"object": "list", "data": [{"id": m, "fingerprint": f"fp-{m}"}
                                                        for m in models]})

    async def write(request: Request) -> Response:
        body = await request.json()
        asked.append({**body, "path": request.url.path,
                      "authorization": request.headers.get("authorization")})
        script = models.get(body["model"])
        if not allowed(request) or script is None:
            return JSONResponse({"error": {"message": "<b>refused</b>"}}, 401)
        if script.error:
            return JSONResponse({"error": {"message": script.error}}, 400)
        chat, details = request.url.path.endswith("/chat/completions"), body.get("logprobs")

        def choice(token: str) -> dict[str, Any]:
            if chat:
                return {"index": 0, "delta": {"content": token}, "finish_reason": None}
            scores = {"tokens": [token], "token_logprobs": [-0.2],
                      "top_logprobs": [{token: -0.2, "other": -1.7}]}
            return {"index": 0, "text": token, "finish_reason": None,
                    "logprobs": scores if details else None}

        async def parts():
            for token in script.tokens[:body["max_tokens"]]:
                if script.seconds:
                    await asyncio.sleep(script.seconds)
                yield f"data: {json.dumps({'choices': [choice(token)]})}\n\n"
            end = {"index": 0, "text": "", "delta": {}, "finish_reason": "stop"}
            yield f"data: {json.dumps({'choices': [end]})}\n\n"
            usage = {"completion_tokens": len(script.tokens)}
            yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n"

        return StreamingResponse(parts(), media_type="text/event-stream")

    async def embed(request: Request) -> Response:
        body = await request.json()
        vectors = [[1 + text.count(chr(97 + n)) for n in range(26)] for text in body["input"]]
        return JSONResponse({"data": [{"index": i, "embedding": v}
                                      for i, v in enumerate(vectors)]})

    app = Starlette(routes=[Route("/v1/models", listing),
                            Route("/v1/embeddings", embed, methods=["POST"]),
                            Route("/v1/completions", write, methods=["POST"]),
                            Route("/v1/chat/completions", write, methods=["POST"])])
    app.state.asked = asked
    return app


@pytest.fixture(name="Script", scope="session")
def script_fixture() -> type[Script]:
    """Return the type of a scripted model."""
    return Script


@pytest.fixture(name="scripted", scope="session")
def scripted_fixture() -> Callable[..., Starlette]:
    """Return scripted(models, key=): an application of scripted models."""
    return scripted


@pytest.fixture
def make_page(tmp_path) -> Iterator[Callable[..., tuple[Any, Arena]]]:
    """Return make(models, key=, datasets=) -> (application with its page, the page's state).

    callers: who asks with other keys than `key`.
    """
    opened = []

    def make(models: Mapping[str, Script], *, key: str = "", datasets: Sequence[Any] = (),
             keeps: bool = True, callers: Mapping[str, Caller] | None = None
             ) -> tuple[Any, Arena]:
        inner = scripted(models, key=key)

        everyone = {key: Caller(), **(callers or {})}

        async def check(authorization: str) -> Caller | None:
            return everyone.get(authorization.removeprefix("Bearer ") if key else key)

        arena = open_arena([Endpoint("", application_transport(inner))], check=check,
                           keyless=not key, folder=tmp_path / "arena" if keeps else None,
                           datasets=datasets)
        opened.append(arena)
        return with_arena(inner, arena), arena

    yield make
    for arena in opened:
        close_arena(arena)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, driven as a person would: keys, clicks, and what is on the screen."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install 'ssljax[dev]'")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                 "--window-size=1280,900", *(["--no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    window = webdriver.Chrome(options=options, service=service)
    window.implicitly_wait(0)
    yield window
    window.quit()
