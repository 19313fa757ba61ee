"""GET /v1/models: what is served, in OpenAI's shape."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.serve.served import Served, Server


def routes(server: Server) -> list[BaseRoute]:
    """Return the routes that list models."""
    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [describe(one) for one in server.served()]})

    return [Route("/v1/models", models)]


def describe(one: Served) -> dict[str, object]:
    """Return OpenAI's model object, with the tokens that the model reads."""
    return {"id": one.name, "object": "model", "created": one.created, "owned_by": "ssljax",
            "max_model_len": one.limits.context}
