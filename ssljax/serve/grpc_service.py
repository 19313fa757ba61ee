"""KServe's open inference protocol over gRPC, beside the HTTP server and by its routes.

Each call becomes a request to the HTTP application inside this process: keys, limits, figures, the
log and every check are those of /v2, and nothing is there twice. The key comes as metadata
`authorization: Bearer KEY`.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import numpy as np
from starlette.types import ASGIApp, Receive, Scope, Send

from ssljax.core.errors import MissingExtraError, RequestError, ServeError, needed
from ssljax.serve.fields import MOST_VALUES
from ssljax.serve.inputs import MEDIA_BODY
from ssljax.serve.tensor_json import LENGTH_HEADER
from ssljax.serve.tensors import DATATYPES, objects_of, raw_bytes

# Which list of InferTensorContents holds a datatype's values; FP16 comes raw only.
CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents",
    "INT32": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}
# HTTP status -> name of gRPC's; https://grpc.io/docs/guides/status-codes
STATUS: Mapping[int, str] = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED", 413: "RESOURCE_EXHAUSTED", 429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
GRACE = 5.0                        # seconds for open calls at the end


class Reply(NamedTuple):
    """What the HTTP application answers."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@contextlib.asynccontextmanager
async def serving_grpc(app: ASGIApp, address: str, *,
                       tls: tuple[bytes, bytes] | None = None) -> AsyncIterator[int]:
    """Serve `app` by gRPC at `address` while the context is open; yield the port.

    Args:
        app: the HTTP application; its event loop is this one.
        address: "127.0.0.1:8001"; port 0 for any free one.
        tls: certificate chain and key, PEM.

    Raises:
        MissingExtraError: grpcio is not installed.
        ServeError: the address cannot be had.
    """
    with needed("grpcio", "grpc"):
        import grpc

        from ssljax.serve.grpc_messages import METHODS, SERVICE, message_classes
    kinds, limit = message_classes(), MEDIA_BODY
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", limit),
                                      ("grpc.so_reuseport", 0)])
    handlers = {name: grpc.unary_unary_rpc_method_handler(
        handler(app, name, kinds, grpc), request_deserializer=kinds[f"{name}Request"].FromString,
        response_serializer=lambda answer: answer.SerializeToString()) for name in METHODS}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    try:
        port = (server.add_secure_port(address, grpc.ssl_server_credentials([tls[::-1]]))
                if tls else server.add_insecure_port(address))
    except RuntimeError as err:
        raise ServeError(f"gRPC cannot listen on {address}: {err}") from err
    await server.start()
    try:
        yield port
    finally:
        await server.stop(GRACE)


def beside(page: ASGIApp, app: ASGIApp, address: str,
           tls: tuple[bytes, bytes] | None = None) -> ASGIApp:
    """Return `page` with gRPC for `app` from its start to its end, as ASGI's lifespan tells them.

    Args:
        page: what HTTP clients get.
        app: what calls by gRPC become requests to.
        address: to listen on.
        tls: certificate chain and key, PEM.
    """
    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await page(scope, receive, send)
            return
        await receive()
        try:
            async with serving_grpc(app, address, tls=tls):
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except (ServeError, MissingExtraError) as err:
            await send({"type": "lifespan.startup.failed", "message": str(err)})
            return
        await send({"type": "lifespan.shutdown.complete"})

    return both


def handler(app: ASGIApp, name: str, kinds: Mapping[str, type], grpc: Any) -> Callable[..., Any]:
    """Return the function that answers one of the protocol's methods."""
    made = kinds[f"{name}Response"]

    async def answer(request: Any, context: Any) -> Any:
        headers = {key: value for key, value in context.invocation_metadata() or ()
                   if key in ("authorization", "x-request-id") and isinstance(value, str)}
        try:
            return await ANSWERS[name](app, request, made, headers)
        except RequestError as err:
            status = getattr(grpc.StatusCode, STATUS.get(err.status, "INTERNAL"))
            later = () if err.retry_after is None else (("retry-after", f"{err.retry_after:g}"),)
            await context.abort(status, str(err), trailing_metadata=later)

    return answer


async def probe(app: ASGIApp, path: str, made: type, field: str, headers: Mapping[str, str]) -> Any:
    """Return the answer to whether something lives or is ready."""
    reply = await call(app, "GET", path, headers)
    if reply.status not in (200, 503):
        raise refused(reply)
    return made(**{field: reply.status == 200})


async def metadata(app: ASGIApp, path: str, made: type, headers: Mapping[str, str]) -> Any:
    """Return what a path says of the server or of a model; the names are the protocol's in both."""
    reply = await call(app, "GET", path, headers)
    if reply.status != 200:
        raise refused(reply)
    return made(**json.loads(reply.body))


async def infer(app: ASGIApp, request: Any, made: type, headers: Mapping[str, str]) -> Any:
    """Return the answer to one inference: its tensors' bytes pass through as they are."""
    body, length = http_body(request)
    reply = await call(app, "POST", f"{path_of(request.model_name, request.model_version)}/infer",
                       {**headers, LENGTH_HEADER: str(length)}, body)
    if reply.status != 200:
        raise refused(reply)
    size = int(reply.headers[LENGTH_HEADER.lower()])
    told, at, raw = json.loads(reply.body[:size]), size, []
    for output in told["outputs"]:
        end = at + output.pop("parameters")["binary_data_size"]
        raw.append(reply.body[at:end])
        at = end
    about = {key: {"string_param": value} for key, value in told.pop("parameters").items()}
    return made(**told, parameters=about, raw_output_contents=raw)


def http_body(request: Any) -> tuple[bytes, int]:
    """Return the HTTP body of a request, and how many bytes of it are JSON.

    Raises:
        RequestError: a tensor's values are neither in its contents nor raw.
    """
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise RequestError(f"raw_input_contents has {len(raw)} items for {len(request.inputs)} "
                           "inputs; expected one for each.")
    parts = raw or [contents_of(tensor) for tensor in request.inputs]
    told = {"inputs": [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape),
                        "parameters": {"binary_data_size": len(part)}}
                       for t, part in zip(request.inputs, parts, strict=True)],
            "outputs": [{"name": output.name} for output in request.outputs],
            "parameters": {"binary_data_output": True}, "id": request.id}
    text = json.dumps(told).encode()
    return text + b"".join(parts), len(text)


def contents_of(tensor: Any) -> bytes:
    """Return a tensor's typed values as the protocol's bytes.

    Raises:
        RequestError: its datatype has none, or they are too many.
    """
    if tensor.datatype not in CONTENTS:
        raise RequestError(f"Tensor {tensor.name!r:.80} has datatype {tensor.datatype!r:.40}; "
                           f"expected {', '.join(CONTENTS)}, or raw_input_contents.")
    values = getattr(tensor.contents, CONTENTS[tensor.datatype])
    if len(values) > MOST_VALUES:        # each becomes an object of Python's while all others wait
        raise RequestError(f"Tensor {tensor.name!r:.80} has {len(values)} values in its contents; "
                           f"at most {MOST_VALUES}. Send raw_input_contents.", status=413)
    values = list(values)
    if tensor.datatype == "BYTES":
        return raw_bytes(objects_of(values))
    try:
        return raw_bytes(np.array(values, DATATYPES[tensor.datatype]))
    except OverflowError as err:
        raise RequestError(f"Tensor {tensor.name!r:.80} is {tensor.datatype}: {err}.") from err


def path_of(name: str, version: str) -> str:
    """Return the path of a model."""
    return f"/v2/models/{quote(name, safe='')}" + (
        f"/versions/{quote(version, safe='')}" if version else "")


def refused(reply: Reply) -> RequestError:
    """Return the error that an HTTP answer is."""
    try:
        told = json.loads(reply.body)["error"]
    except (ValueError, KeyError, TypeError):
        told = f"HTTP status {reply.status}"
    later = reply.headers.get("retry-after", "")
    return RequestError(told["message"] if isinstance(told, dict) else told, status=reply.status,
                        retry_after=float(later) if later.isdigit() else None)


async def call(app: ASGIApp, method: str, path: str, headers: Mapping[str, str],
               body: bytes = b"") -> Reply:
    """Return the answer of an ASGI application, called inside this process."""
    pairs = [(key.lower().encode(), value.encode("latin-1", "replace"))
             for key, value in headers.items()]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
             "scheme": "http", "path": unquote(path), "raw_path": path.encode(), "root_path": "",
             "query_string": b"", "headers": pairs, "client": None, "server": None, "state": {}}
    given, started, parts = [body], {}, []

    async def receive() -> dict[str, Any]:
        if given:
            return {"type": "http.request", "body": given.pop(), "more_body": False}
        return await asyncio.Future()    # the client stays: a cancelled call cancels all of this

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return Reply(started["status"], {key.decode(): value.decode("latin-1")
                                     for key, value in started.get("headers", ())}, b"".join(parts))


ANSWERS: Mapping[str, Callable[..., Any]] = {
    "ServerLive": lambda app, request, made, headers: probe(app, "/v2/health/live", made, "live",
                                                            headers),
    "ServerReady": lambda app, request, made, headers: probe(app, "/v2/health/ready", made, "ready",
                                                             headers),
    "ModelReady": lambda app, request, made, headers: probe(
        app, f"{path_of(request.name, request.version)}/ready", made, "ready", headers),
    "ServerMetadata": lambda app, request, made, headers: metadata(app, "/v2", made, headers),
    "ModelMetadata": lambda app, request, made, headers: metadata(
        app, path_of(request.name, request.version), made, headers),
    "ModelInfer": infer,
}
