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

from ssljax.core.errors import RequestError
from ssljax.serve.batching import PATIENCE
from ssljax.serve.checks import Check, anything, integer, number, text
from ssljax.serve.examples import body_limit, decoding_threads, encode, encoding_of, read_examples
from ssljax.serve.fields import check_fields, read_object
from ssljax.serve.http import JsonResponse, call_of, read_body
from ssljax.serve.labels import labels_of, softmax
from ssljax.serve.served import Served, Server


def routes(server: Server) -> list[BaseRoute]:
    """Return the routes of classification; /v1/classify is the same one."""
    threads = decoding_threads()

    async def classify(request: Request) -> Response:
        fields = check_fields(read_object(await read_body(request, body_limit(server))), FIELDS)
        served = server.find(fields.get("model"), call_of(request))
        if "input" not in fields:
            raise RequestError("input is missing; expected what to classify.", param="input")
        encoding_of(served, "classify")
        examples = await read_examples(served, fields["input"], fetch=server.fetch,
                                       threads=threads)
        logits = await encode(request, served, "classify", examples,
                               fields.get("max_wait", PATIENCE))
        return JsonResponse(answer(call_of(request).id, served, logits, fields.get("top")))

    return [Route(path, classify, methods=["POST"]) for path in ("/classify", "/v1/classify")]


def answer(id: str, served: Served, logits: list[np.ndarray], top: int | None) -> dict[str, Any]:
    """Return the answer's object; with `top`, only so many of the most probable classes."""
    return {"id": f"classify-{id}", "object": "list", "model": served.name,
            "system_fingerprint": served.encoding.fingerprint,
            "data": [judged(at, row, labels_of(served.artefact, len(row)), top)
                     for at, row in enumerate(logits)]}


def judged(at: int, logits: np.ndarray, labels: list[str], top: int | None) -> dict[str, Any]:
    """Return one input's classes, all in their order or the `top` best first."""
    probabilities = softmax(logits)
    best = int(np.argmax(probabilities))
    order = range(len(labels)) if top is None else np.argsort(-probabilities, kind="stable")[:top]
    return {"index": at, "label": labels[best], "probs": probabilities[order].tolist(),
            "labels": [labels[i] for i in order], "num_classes": len(labels)}


FIELDS: dict[str, Check] = {"model": text, "input": anything, "user": text, "top": integer(1),
                            "max_wait": number(0, 86400)}
