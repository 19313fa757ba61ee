"""Low-rank adapters while the server runs; every path needs an administrator's key.

    GET  /admin/adapters         every adapter: its base, folder, share of the traffic, open calls
    POST /admin/adapters/load    {"adapter", "name", "version", "base", "weight"}   once it is ready
    POST /admin/adapters/unload  {"name", "version", "seconds"}    answers once its calls have ended

An adapter is a model of its own: /admin/traffic moves calls between two versions of one.
"""

import asyncio
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.core.errors import ArtefactError, RequestError
from ssljax.serve.routes.admin import DRAIN_SECONDS, named, read, required, share
from ssljax.serve.served import Server


def routes(server: Server) -> list[BaseRoute]:
    """Return the routes of adapters."""
    models = server.models

    async def listing(request: Request) -> Response:
        return JSONResponse({"data": [one for one in models.status() if one["adapter"]]})

    async def load(request: Request) -> Response:
        fields = await read(request, server, adapter=str, name=str, version=str, base=str,
                            weight=float)
        folder, name = Path(required(fields, "adapter")), named(fields, "name")
        if not name:
            raise RequestError("name is missing.", param="name")
        try:
            served = await asyncio.to_thread(
                models.attach, folder, name, named(fields, "version") or "1", fields.get("base"),
                share(fields, "weight"))
        except ArtefactError as err:
            raise RequestError(str(err), param="adapter", code="bad_adapter") from err
        return JSONResponse({"name": name, "version": served.version,
                             "fingerprint": served.fingerprint,
                             "base": f"{served.parent.name}@{served.parent.version}"})

    async def unload(request: Request) -> Response:
        fields = await read(request, server, name=str, version=str, seconds=float)
        name, version = required(fields, "name"), fields.get("version", "1")
        if not any((one["name"], one["version"]) == (name, version) and one["adapter"]
                   for one in models.status()):
            raise RequestError(f"{name}@{version} is no adapter that is loaded; see "
                               "/admin/adapters.", status=404, param="name",
                               code="model_not_found")
        left = await models.unload(name, version, fields.get("seconds", DRAIN_SECONDS))
        return JSONResponse({"unloaded": True, "calls_cut_off": left})

    return [Route("/admin/adapters", listing),
            Route("/admin/adapters/load", load, methods=["POST"]),
            Route("/admin/adapters/unload", unload, methods=["POST"])]
