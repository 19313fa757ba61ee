"""POST /classify: labels and probabilities of each input, of models that were given a head.

The request is that of embeddings; the answer is vLLM's shape
(https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html): for each input the best
label, every probability in the order of the classes, and their names.
"""

from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ssljax.serve.checks import Check, integer
from ssljax.serve.examples import INPUT, answered, decoding_threads
from ssljax.serve.http import JsonResponse, call_of
from ssljax.serve.labels import judged
from ssljax.serve.served import Served, Server


def routes(server: Server) -> list[BaseRoute]:
    """Return the routes of classification; /v1/classify is the same one."""
    threads = decoding_threads()

    async def classify(request: Request) -> Response:
        served, fields, _, logits = await answered(request, server, "classify", FIELDS, threads)
        return JsonResponse(answer(call_of(request).id, served, logits, fields.get("top")))

    return [Route(path, classify, methods=["POST"]) for path in ("/classify", "/v1/classify")]


def answer(id: str, served: Served, logits: list[np.ndarray], top: int | None) -> dict[str, Any]:
    """Return the answer's object; with `top`, only so many of the most probable classes."""
    return {"id": f"classify-{id}", "object": "list", "model": served.name,
            "system_fingerprint": served.encoding.fingerprint,
            "data": [{"index": at, **judged(served.artefact, row, top)}
                     for at, row in enumerate(logits)]}


FIELDS: dict[str, Check] = {**INPUT, "top": integer(1)}
