"""The HTTP application: the routes of every module, one shape for every error.

Whatever a client sends wrong gets a 4xx with OpenAI's error object; a defect of the server is a 500
without its details, which the log has.
"""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ssljax.core.errors import RequestError
from ssljax.serve.calls import with_calls
from ssljax.serve.exchange import GONE, GoneError
from ssljax.serve.http import refusal, refuse
from ssljax.serve.routes import (
    adapters,
    admin,
    batches,
    chat,
    classify,
    completions,
    embeddings,
    files,
    health,
    kserve,
    models,
    openapi,
    tokenize,
)
from ssljax.serve.served import Server

ROUTES = (
    adapters,
    admin,
    batches,
    chat,
    classify,
    completions,
    embeddings,
    files,
    health,
    kserve,
    models,
    openapi,
    tokenize,
)


def make_app(server: Server) -> Starlette:
    """Return the ASGI application over a server's models."""
    routes = [route for module in ROUTES for route in module.routes(server)]
    return Starlette(
        routes=routes,
        middleware=[Middleware(with_calls, server=server), Middleware(looked_up, routes=routes)],
        exception_handlers={**REFUSALS, Exception: say_failure})


def looked_up(app: ASGIApp, routes: Sequence[BaseRoute]) -> ASGIApp:
    """Return `app` behind a table of the routes whose paths have no parameters.

    Nearly all requests are for one of those. The router tries forty patterns one after the other:
    a quarter of what it costs to answer GET /v1/models.
    """
    table = {(method, route.path): route.app for route in reversed(routes)
             if isinstance(route, Route) and not route.param_convertors
             for method in route.methods or ()}

    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        found = table.get((scope.get("method"), scope.get("path")))
        if found is not None:            # what the layer around the router tells routes
            scope["starlette.exception_handlers"] = REFUSALS, {}
        await (found or app)(scope, receive, send)

    return choose


async def say_http_error(request: Request, err: Exception) -> Response:
    """Answer an unknown path or method in the shape of the other errors."""
    message = f"{request.method} {request.url.path}: {err.detail}."
    return refuse(message, err.status_code, headers=err.headers)


async def say_refusal(request: Request, err: Exception) -> Response:
    """Answer a request that a route has refused."""
    return refusal(err)


async def say_nothing(request: Request, err: Exception) -> Response:
    """Answer a client that has gone: nobody reads it, the figures count it."""
    return Response(status_code=GONE)


async def say_failure(request: Request, err: Exception) -> Response:
    """Answer a defect of the server without its details, which the log has."""
    return refuse("The server failed on this request; its log says why.", 500)


REFUSALS = {HTTPException: say_http_error, RequestError: say_refusal,
            ClientDisconnect: say_nothing, GoneError: say_nothing}
