"""Models, traffic and shadows while the server runs; every path needs an administrator's key.

Paths and the fields of their bodies:

    GET  /admin/models          every version: its share of the traffic, open calls, artefact
    POST /admin/models/load     {"artefact", "name", "version", "weight"}   answers once it is ready
    POST /admin/models/unload   {"name", "version", "seconds"}     answers once its calls have ended
    POST /admin/traffic         {"name", "weights": {"1": 0.9, "2": 0.1}}
    POST /admin/rollback        {"name"}                           the split before the last one
    POST /admin/shadow          {"name", "version" or null, "share"}
    GET  /admin/shadow          agreement and latency of shadow versions
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.core.errors import ArtefactError, RequestError, ServeError, nearest
from ssljax.serve.checks import show
from ssljax.serve.fields import read_object
from ssljax.serve.http import read_body
from ssljax.serve.served import Server

DRAIN_SECONDS = 300.0              # for calls of a version that goes
NAME_LENGTH = 128


def routes(server: Server) -> list[BaseRoute]:
    """Return the routes of administration."""
    models = server.models

    async def listing(request: Request) -> Response:
        return JSONResponse({"data": models.status()})

    async def load(request: Request) -> Response:
        fields = await read(request, server, name=str, version=str, artefact=str, weight=float)
        path = Path(required(fields, "artefact"))
        try:
            served = await asyncio.to_thread(
                models.load, path, named(fields, "name"), named(fields, "version") or "1",
                share(fields, "weight"))
        except (ArtefactError, ServeError) as err:
            raise RequestError(str(err), param="artefact", code="bad_artefact") from err
        return JSONResponse({"name": served.name, "version": served.version,
                             "fingerprint": served.fingerprint})

    async def unload(request: Request) -> Response:
        fields = await read(request, server, name=str, version=str, seconds=float)
        left = await models.unload(required(fields, "name"), required(fields, "version"),
                                   fields.get("seconds", DRAIN_SECONDS))
        return JSONResponse({"unloaded": True, "calls_cut_off": left})

    async def traffic(request: Request) -> Response:
        fields = await read(request, server, name=str, weights=dict)
        models.split(required(fields, "name"), numbers(required(fields, "weights")))
        return JSONResponse({"data": models.status()})

    async def rollback(request: Request) -> Response:
        models.rollback(required(await read(request, server, name=str), "name"))
        return JSONResponse({"data": models.status()})

    async def shadow(request: Request) -> Response:
        fields = await read(request, server, name=str, version=str, share=float)
        part = share(fields, "share")
        models.mirror(required(fields, "name"), fields.get("version"),
                      1.0 if part is None else part)
        return JSONResponse({"data": models.status()})

    async def shadows(request: Request) -> Response:
        return JSONResponse({"data": models.shadows()})

    posts = {"models/load": load, "models/unload": unload, "traffic": traffic,
             "rollback": rollback, "shadow": shadow}
    return [Route("/admin/models", listing), Route("/admin/shadow", shadows),
            *(Route(f"/admin/{path}", function, methods=["POST"])
              for path, function in posts.items())]


async def read(request: Request, server: Server, **kinds: type) -> dict[str, Any]:
    """Return the fields of a body, each of its kind; null is not given.

    Raises:
        RequestError: a field is unknown, or of another kind.
    """
    fields = read_object(await read_body(request, server.body))
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in kinds:
            raise RequestError(f"Unknown field {show(name)}; {nearest(name, kinds)}")
        number = kinds[name] is float and type(value) is int
        if value is not None and not number and type(value) is not kinds[name]:
            raise RequestError(f"{name} is {show(value)}; expected {WORDS[kinds[name]]}.",
                               param=name)
        if value is not None:
            found[name] = value
    return found


WORDS = {str: "a string", float: "a number", dict: "an object"}


def required(fields: Mapping[str, Any], name: str) -> Any:
    """Return a field that must be there."""
    if name not in fields:
        raise RequestError(f"{name} is missing.", param=name)
    return fields[name]


def named(fields: Mapping[str, Any], name: str) -> str:
    """Return a name that can be asked for; "" where none is given."""
    value = fields.get(name, "")
    if len(value) > NAME_LENGTH or "@" in value or not value.isprintable():
        raise RequestError(f"{name} is {show(value)}; expected at most {NAME_LENGTH} printable "
                           "characters without @.", param=name)
    return value


def share(fields: Mapping[str, Any], name: str) -> float | None:
    """Return a number from 0 to 1, or None where it is not given."""
    value = fields.get(name)
    if value is not None and not 0 <= value <= 1:
        raise RequestError(f"{name} is {show(value)}; expected from 0 to 1.", param=name)
    return value


def numbers(weights: Mapping[str, Any]) -> Mapping[str, float]:
    """Return weights that are numbers."""
    for version, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise RequestError(f"weights of {show(version)} is {show(weight)}; expected a number.",
                               param="weights")
    return weights
