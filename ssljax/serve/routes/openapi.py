"""GET /openapi.json: the paths of this server, what they read and what they answer."""

import re
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.serve.openapi.document import document
from ssljax.serve.served import Server


def routes(server: Server) -> list[BaseRoute]:
    """Return the document's route."""
    async def openapi(request: Request) -> Response:
        return JSONResponse(document(paths_of(request.app.routes)))

    return [Route("/openapi.json", openapi)]


def paths_of(routes: Iterable[BaseRoute]) -> set[str]:
    """Return the paths of an application as OpenAPI spells them: without converters."""
    return {re.sub(r":\w+}", "}", route.path) for route in routes if isinstance(route, Route)}
