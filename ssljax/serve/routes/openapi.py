"""GET /openapi.json: the paths of this server, what they read and what they answer."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.serve.openapi.document import document
from ssljax.serve.served import Server


def routes(server: Server) -> list[BaseRoute]:
    """Return the document's route."""
    answer = JSONResponse(document())

    async def openapi(request: Request) -> Response:
        return answer

    return [Route("/openapi.json", openapi)]
