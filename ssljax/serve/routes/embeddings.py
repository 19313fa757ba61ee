"""POST /v1/embeddings: one vector for each text, list of token ids or image.

OpenAI's fields, https://platform.openai.com/docs/api-reference/embeddings, with images in `input`
as the extension (inputs.py). `encoding_format` base64 is the vector's little-endian float32 bytes.
"""

import base64
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ssljax.core.errors import RequestError
from ssljax.serve.checks import Check, integer, one_of
from ssljax.serve.examples import INPUT, answered, decoding_threads
from ssljax.serve.http import JsonResponse
from ssljax.serve.inputs import tokens_of
from ssljax.serve.served import Served, Server


def routes(server: Server) -> list[BaseRoute]:
    """Return the route of embeddings."""
    threads = decoding_threads()

    async def embeddings(request: Request) -> Response:
        served, fields, examples, vectors = await answered(request, server, "embed", FIELDS,
                                                           threads)
        size = fields.get("dimensions")
        if size is not None:
            vectors = [shortened(vector, size, served) for vector in vectors]
        tokens = tokens_of(served.artefact, examples)
        return JsonResponse(answer(served, vectors, tokens,
                                   fields.get("encoding_format", "float")))

    return [Route("/v1/embeddings", embeddings, methods=["POST"])]


def answer(served: Served, vectors: list[np.ndarray], tokens: int, form: str) -> dict[str, Any]:
    """Return OpenAI's list of embeddings."""
    spell = base64_of if form == "base64" else np.ndarray.tolist
    return {"object": "list", "model": served.name,
            "system_fingerprint": served.encoding.fingerprint,
            "data": [{"object": "embedding", "index": at, "embedding": spell(vector)}
                     for at, vector in enumerate(vectors)],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def base64_of(vector: np.ndarray) -> str:
    """Return a vector's little-endian float32 bytes in base64."""
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode()


def shortened(vector: np.ndarray, size: int, served: Served) -> np.ndarray:
    """Return the first `size` numbers at length 1, of a model that was trained for such prefixes.

    Kusupati et al. 2022, https://arxiv.org/abs/2205.13147.

    Raises:
        RequestError: it was not.
    """
    offered = served.artefact.manifest.get("dimensions", [])
    if size == len(vector):
        return vector
    if size not in offered:
        able = f"{', '.join(map(str, offered))} or " if offered else ""
        raise RequestError(f"dimensions is {size}; this model gives {able}{len(vector)}: a prefix "
                           "of another length means nothing unless the model was trained for it.",
                           param="dimensions")
    return vector[:size] / max(float(np.linalg.norm(vector[:size])), 1e-12)


FIELDS: dict[str, Check] = {
    **INPUT, "dimensions": integer(1), "encoding_format": one_of("float", "base64")}
