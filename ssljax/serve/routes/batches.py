"""Batches of OpenAI's interface: a file of requests, answered beside online traffic.

    POST /v1/batches               {"input_file_id", "endpoint", "completion_window", "metadata"}
    GET  /v1/batches               those of the caller; ?limit=, after=
    GET  /v1/batches/ID            one, with how many requests are done
    POST /v1/batches/ID/cancel     what is done by then is kept

https://platform.openai.com/docs/api-reference/batch
"""

import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.core.errors import RequestError
from ssljax.serve.batch_lines import ENDPOINTS
from ssljax.serve.batch_runs import ALIVE
from ssljax.serve.checks import show, text, wrong
from ssljax.serve.fields import check_fields, read_object
from ssljax.serve.http import call_of, read_body
from ssljax.serve.jobs_folder import new_id, public
from ssljax.serve.routes.files import page
from ssljax.serve.served import Call, Server

MOST_METADATA = 16


def routes(server: Server) -> list[BaseRoute]:
    """Return the routes of batches; none where the server keeps none."""
    if server.jobs is None:
        return []
    jobs, events = server.jobs

    async def batches(request: Request) -> Response:
        call = call_of(request)
        if request.method == "GET":
            return JSONResponse(page(request, jobs.batches(call.caller)))
        fields = check_fields(read_object(await read_body(request, server.body)), FIELDS)
        for name in ("input_file_id", "endpoint"):
            if name not in fields:
                raise RequestError(f"{name} is missing.", param=name)
        jobs.file(fields["input_file_id"], call.caller)
        batch = new_batch(fields, call)
        await run_in_threadpool(jobs.save_batch, batch)
        events.put(None)
        return JSONResponse(public(batch))

    async def one(request: Request) -> Response:
        return JSONResponse(public(jobs.batch(request.path_params["id"],
                                              call_of(request).caller)))

    async def cancel(request: Request) -> Response:
        identity = request.path_params["id"]
        jobs.batch(identity, call_of(request).caller)
        return JSONResponse(public(await run_in_threadpool(jobs.change, identity, cancelled)))

    return [Route("/v1/batches", batches, methods=["GET", "POST"]),
            Route("/v1/batches/{id}", one),
            Route("/v1/batches/{id}/cancel", cancel, methods=["POST"])]


def new_batch(fields: dict[str, Any], call: Call) -> dict[str, Any]:
    """Return a batch that waits, with all of OpenAI's fields, and who may do what it asks."""
    ends = ("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at",
            "cancelling_at", "cancelled_at", "expires_at")
    models = call.caller.models
    return {"id": new_id("batch"), "object": "batch", "endpoint": fields["endpoint"],
            "errors": None, "input_file_id": fields["input_file_id"],
            "completion_window": fields.get("completion_window", "24h"), "status": "validating",
            "output_file_id": None, "error_file_id": None, "created_at": int(time.time()),
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": fields.get("metadata"), **dict.fromkeys(ends),
            "owner": call.caller.id, "models": None if models is None else sorted(models)}


def cancelled(batch: dict[str, Any]) -> dict[str, Any]:
    """Return the batch asked to stop.

    Raises:
        RequestError: it has ended (409).
    """
    if batch["status"] not in ALIVE:
        raise RequestError(f"{batch['id']} is {batch['status']} already.", status=409, param="id")
    return batch | {"status": "cancelling", "cancelling_at": int(time.time())}


def endpoint(name: str, value: Any) -> str:
    """Check an endpoint that batches may use."""
    if value not in ENDPOINTS:
        raise wrong(name, value, f"one of {', '.join(ENDPOINTS)}")
    return value


def window(name: str, value: Any) -> str:
    """Check the completion window, of which OpenAI has one too."""
    if value != "24h":
        raise wrong(name, value, '"24h"')
    return value


def metadata(name: str, value: Any) -> dict[str, str]:
    """Check a few short strings by name."""
    if (not isinstance(value, dict) or len(value) > MOST_METADATA
            or not all(isinstance(v, str) and len(v) <= 512 and len(k) <= 64
                       for k, v in value.items())):
        raise RequestError(f"{name} is {show(value)}; expected an object of at most "
                           f"{MOST_METADATA} strings of at most 512 characters.", param=name)
    return {text(name, key): text(f"{name}.{key}", item) for key, item in value.items()}


FIELDS = {"input_file_id": text, "endpoint": endpoint, "completion_window": window,
          "metadata": metadata}
