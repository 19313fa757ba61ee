"""Liveness and figures.

GET /healthz answers 200 while every engine lives and needs no key; GET /metrics is Prometheus'.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.serve.served import Server


def routes(server: Server) -> list[BaseRoute]:
    """Return the routes that tell how the server is."""
    async def health(request: Request) -> Response:
        alive = all(one.engine is None or one.engine.load().alive for one in server.served())
        return JSONResponse({"status": "ok" if alive else "the engine has stopped"},
                            200 if alive else 503)

    async def metrics(request: Request) -> Response:
        return Response(server.metrics.render(),
                        media_type="text/plain; version=0.0.4; charset=utf-8")

    return [Route("/healthz", health), Route("/metrics", metrics)]
