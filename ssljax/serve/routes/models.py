"""GET /v1/models: what is served, in OpenAI's shape; GET /v1/models/NAME: one of them.

A model is listed by its name, and each of its versions as NAME@VERSION once there are several.
"""

from collections import Counter

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.core.errors import RequestError
from ssljax.serve.http import call_of
from ssljax.serve.served import Call, Served, Server


def routes(server: Server) -> list[BaseRoute]:
    """Return the routes that list models."""
    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": listing(server, call_of(request))})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        for one in listing(server, call_of(request)):
            if one["id"] == name:
                return JSONResponse(one)
        raise RequestError(f'model "{name}" is not served here.', status=404, param="model",
                           code="model_not_found")

    return [Route("/v1/models", models), Route("/v1/models/{name:path}", model)]


def listing(server: Server, call: Call) -> list[dict[str, object]]:
    """Return the models that the caller may use."""
    may, served = call.caller.models, server.served()
    versions = Counter(one.name for one in served)
    mine = [one for one in served if may is None or one.name in may]
    names = {one.name: describe(one, one.name) for one in mine}        # the newest of each
    several = [describe(one, f"{one.name}@{one.version}") for one in mine if versions[one.name] > 1]
    return [*names.values(), *several]


def describe(one: Served, name: str) -> dict[str, object]:
    """Return OpenAI's model object, with what the model is and how much it reads.

    An adapter's `parent` is its base, the field's name as vLLM has it. What reads no tokens has no
    `max_model_len`.
    """
    manifest = one.artefact.manifest
    length = {"max_model_len": one.limits.context} if one.limits.context else {}
    return {"id": name, "object": "model", "created": one.created, "owned_by": "ssljax",
            **length, "version": one.version, "kind": manifest["kind"],
            "inputs": (["text"] if one.artefact.tokenizer
                       else list(manifest.get("preprocessing", ()))),
            "system_fingerprint": one.fingerprint,
            "parent": one.parent and one.parent.name}
