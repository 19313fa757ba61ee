"""The comparison page over HTTP: the page itself, its session, and who can be compared.

    GET  /                      the page; without the key its sign-in form, as a 401
    GET  /arena/page/FILE       its style and modules
    POST /arena/session         a key in `Authorization` becomes a cookie; DELETE ends it
    GET  /arena/state           who can be compared, what is kept, what can be looked at

Whatever else is asked goes to the server within, if there is one. The page loads nothing from
elsewhere, runs scripts that carry this answer's nonce and no others, and cannot turn a string into
markup (Trusted Types): a model's words stay words.
"""

import importlib.resources
import secrets
from collections.abc import Mapping
from string import Template
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ssljax import __version__
from ssljax.core.errors import RequestError
from ssljax.serve.app import say_failure, say_http_error, say_nothing, say_refusal
from ssljax.serve.arena import picture_routes, round_routes, row_routes
from ssljax.serve.arena.contestants import find_contestants
from ssljax.serve.arena.paths import is_page
from ssljax.serve.arena.sessions import check_origin, cookie
from ssljax.serve.arena.state import Arena, guarded
from ssljax.serve.http import refuse

KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = ("default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
          "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
          "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
           "Cross-Origin-Opener-Policy": "same-origin",
           "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store"}


def with_arena(app: ASGIApp | None, arena: Arena) -> ASGIApp:
    """Return `app` with the comparison page at / and /arena; without one, the page alone."""
    page = Starlette(routes=routes(arena), exception_handlers={
        HTTPException: say_http_error, RequestError: say_refusal, ClientDisconnect: say_nothing,
        Exception: say_failure})

    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        await (page if app is None or is_page(scope) else app)(scope, receive, send)

    return choose


def routes(arena: Arena) -> list[BaseRoute]:
    """Return every route of the page."""
    files = page_files()

    async def home(request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        allowed = await arena.sessions.who(request) is not None
        text = Template(files["index.html" if allowed else "signin.html"].decode()).substitute(
            nonce=nonce, version=__version__, style="" if allowed else files["style.css"].decode())
        headers = {**HEADERS, "Content-Security-Policy": POLICY.format(nonce=nonce)}
        if not allowed:
            headers["WWW-Authenticate"] = "Bearer"
        return HTMLResponse(text, 200 if allowed else 401, headers=headers)

    async def file(request: Request, authorization: str) -> Response:
        name = request.path_params["name"]
        kind = KINDS.get(name[name.rfind("."):])
        if name not in files or kind is None:
            return refuse(f"There is no file {name[:80]!r}.", 404)
        return Response(files[name], media_type=kind, headers=HEADERS)

    async def sign_in(request: Request, authorization: str) -> Response:
        token = arena.sessions.begin(request.headers.get("authorization", ""))
        return Response(status_code=204, headers={
            "Set-Cookie": cookie(token, secure=request.url.scheme == "https")})

    async def sign_out(request: Request) -> Response:
        check_origin(request, keyless=arena.keyless)
        arena.sessions.end(request)
        return Response(status_code=204, headers={
            "Set-Cookie": cookie("", secure=request.url.scheme == "https")})

    async def state(request: Request, authorization: str) -> Response:
        return JSONResponse(await describe(arena, authorization), headers=HEADERS)

    return [Route("/", home), Route("/arena/page/{name}", guarded(arena, file)),
            Route("/arena/session", guarded(arena, sign_in), methods=["POST"]),
            Route("/arena/session", sign_out, methods=["DELETE"]),
            Route("/arena/state", guarded(arena, state)),
            *(route for module in (round_routes, row_routes, picture_routes)
              for route in module.routes(arena))]


async def describe(arena: Arena, authorization: str) -> Mapping[str, Any]:
    """Return what the page needs to begin."""
    found, silent = await find_contestants(arena.endpoints, authorization)
    return {"version": __version__, "keyless": arena.keyless,
            "keeps_votes": arena.votes is not None,
            "contestants": [{"name": one.name, "kind": one.kind, "reads": one.reads,
                             "context": one.context} for one in found],
            "silent": silent, "prompts": arena.prompts.all(),
            "datasets": [{"name": one.name, "images": one.images, **one.about}
                         for one in arena.datasets]}


def page_files() -> dict[str, bytes]:
    """Return the files of the page by name."""
    folder = importlib.resources.files("ssljax.serve.arena").joinpath("page")
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
