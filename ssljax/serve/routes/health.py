"""How the server is; the first three need no key.

Paths and what they mean:

    GET /healthz, /health   200 while every engine lives: restart the process otherwise
    GET /ready              200 while requests are welcome: 503 once SIGTERM has come, or without
                            models; send requests elsewhere
    GET /metrics            Prometheus
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.serve.served import Server


def routes(server: Server) -> list[BaseRoute]:
    """Return the routes that tell how the server is."""
    async def health(request: Request) -> Response:
        return answer(illness(server))

    async def ready(request: Request) -> Response:
        return answer(unreadiness(server))

    async def metrics(request: Request) -> Response:
        return Response(server.metrics.render(),
                        media_type="text/plain; version=0.0.4; charset=utf-8")

    return [Route("/healthz", health), Route("/health", health), Route("/ready", ready),
            Route("/metrics", metrics)]


def illness(server: Server) -> str:
    """Return why the process should be restarted; "" for no reason."""
    for one in server.served():
        if one.engine is not None and not one.engine.load().alive:
            return f"the engine of {one.name}@{one.version} has stopped"
        if one.encoding is not None and not one.encoding.load().alive:
            return f"the encoder of {one.name}@{one.version} has stopped"
    return ""


def unreadiness(server: Server) -> str:
    """Return why requests had better go elsewhere; "" for no reason."""
    if server.gate.draining():
        return "draining: the server is about to end"
    return illness(server) if server.served() else "no model is loaded"


def answer(trouble: str) -> Response:
    """Return 200, or 503 with the trouble."""
    return JSONResponse({"status": trouble or "ok"}, 503 if trouble else 200)
