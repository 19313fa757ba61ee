"""KServe's open inference protocol, version 2, over HTTP.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
with the binary tensor extension and the generate extension,
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/generate_rest.yaml.
Errors are {"error": "..."} here, as the protocol has them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from ssljax import __version__
from ssljax.core.errors import RequestError
from ssljax.serve.checks import show, spelt_out
from ssljax.serve.examples import body_limit, decoding_threads
from ssljax.serve.exchange import unless_gone
from ssljax.serve.http import call_of, headers_of, read_body
from ssljax.serve.inference import describe, infer
from ssljax.serve.routes.generate import generate
from ssljax.serve.routes.health import illness, unreadiness
from ssljax.serve.served import Served, Server
from ssljax.serve.tensor_json import LENGTH_HEADER, read_request, write_response

SMALL = 1 << 14                    # bytes of a body that is read on the event loop
EXTENSIONS = ("binary_tensor_data", "generate")
Answer = Callable[[Request], Awaitable[ASGIApp]]


def routes(server: Server) -> list[BaseRoute]:
    """Return the protocol's routes."""
    threads = decoding_threads()

    async def about(request: Request) -> Response:
        return JSONResponse({"name": "ssljax", "version": __version__,
                             "extensions": list(EXTENSIONS)})

    async def live(request: Request) -> Response:
        return probed("live", illness(server))

    async def ready(request: Request) -> Response:
        return probed("ready", unreadiness(server))

    async def model(request: Request) -> Response:
        served = found(request, server)
        return JSONResponse(describe(served, versions_of(server, served)))

    async def model_ready(request: Request) -> Response:
        return JSONResponse({"name": found(request, server).name, "ready": True})

    async def run(request: Request) -> Response:
        return await inferred(request, server, threads)

    async def text(request: Request) -> ASGIApp:
        return await generate(request, server, found(request, server), stream=False)

    async def text_stream(request: Request) -> ASGIApp:
        return await generate(request, server, found(request, server), stream=True)

    rest = [Route(path, in_protocol(answer), methods=[method])
            for end, answer, method in (("", model, "GET"), ("/ready", model_ready, "GET"),
                                        ("/infer", run, "POST"), ("/generate", text, "POST"),
                                        ("/generate_stream", text_stream, "POST"))
            for path in (f"/v2/models/{{name}}{end}",
                         f"/v2/models/{{name}}/versions/{{version}}{end}")]
    return [Route("/v2", about), Route("/v2/health/live", live), Route("/v2/health/ready", ready),
            *rest]


def probed(name: str, trouble: str) -> Response:
    """Return the answer to a probe."""
    return JSONResponse({name: not trouble, **({"reason": trouble} if trouble else {})},
                        503 if trouble else 200)


def in_protocol(answer: Answer) -> Answer:
    """Return `answer` with what it refuses in the protocol's shape."""
    async def answered(request: Request) -> ASGIApp:
        try:
            return await answer(request)
        except RequestError as err:
            return JSONResponse({"error": spelt_out(str(err))}, err.status, headers_of(err))

    return answered


def found(request: Request, server: Server) -> Served:
    """Return the version that a path names, or that answers for its model.

    Raises:
        RequestError: there is none (404).
    """
    name, version = (request.path_params.get(part) for part in ("name", "version"))
    return server.find(name if version is None else f"{name}@{version}", call_of(request))


def versions_of(server: Server, served: Served) -> list[str]:
    """Return the versions of a model that are loaded."""
    return [one.version for one in server.served() if one.name == served.name]


async def inferred(request: Request, server: Server, threads: Executor) -> Response:
    """Answer one infer request."""
    packed = request.headers.get("content-encoding", "identity")
    if packed != "identity":
        raise RequestError(f"The body is {show(packed)}; this server reads bodies as they are: "
                           "turn compression off.", status=415)
    served = found(request, server)
    body = await read_body(request, body_limit(server))
    read = partial(read_request, body, request.headers.get(LENGTH_HEADER))
    asked = read() if len(body) <= SMALL else await asyncio.get_running_loop().run_in_executor(
        threads, read)
    work = infer(served, asked.inputs, [wanted.name for wanted in asked.outputs],
                 call=call_of(request), threads=threads)
    outputs = await unless_gone(request.receive, work)
    head = {"model_name": served.name, "model_version": served.version,
            **({"id": asked.id} if asked.id else {}),
            "parameters": {"system_fingerprint": served.encoding.fingerprint}}
    binary = [w.binary for w in asked.outputs] or [asked.binary] * len(outputs)
    data, length = write_response(head, outputs, binary)
    if length is None:
        return Response(data, media_type="application/json")
    return Response(data, media_type="application/octet-stream",
                    headers={LENGTH_HEADER: str(length)})
