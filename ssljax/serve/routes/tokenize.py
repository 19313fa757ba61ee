"""POST /tokenize and /detokenize: text to ids and back, by a model's own tokenizer.

The shapes are vLLM's, https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html. Ids
are without the start token, which the server puts in front of every prompt itself.
"""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.core.errors import RequestError
from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.answers import spell
from ssljax.serve.checks import Check, boolean, text, wrong
from ssljax.serve.fields import Fields, check_fields, check_ids, read_object
from ssljax.serve.http import call_of, read_body
from ssljax.serve.served import Served, Server


def routes(server: Server) -> list[BaseRoute]:
    """Return the routes of the tokenizer."""
    async def tokenize(request: Request) -> Response:
        fields, served, tokenizer = await ask(request, ENCODE)
        ids = await run_in_threadpool(tokenizer.encode, fields.get("prompt", ""))
        strings = ({"token_strs": [spell(i, tokenizer) for i in ids]}
                   if fields.get("return_token_strs") else {})
        return JSONResponse({"count": len(ids), "max_model_len": served.limits.context,
                             "tokens": ids, **strings})

    async def detokenize(request: Request) -> Response:
        fields, _, tokenizer = await ask(request, DECODE)
        ids = fields.get("tokens", [])
        check_ids("tokens", ids, tokenizer)
        return JSONResponse({"prompt": tokenizer.decode_bytes(ids).decode("utf-8", "replace")})

    async def ask(request: Request, known: dict[str, Check]) -> tuple[Fields, Served, Tokenizer]:
        fields = check_fields(read_object(await read_body(request, server.body)), known)
        served = server.find(fields.get("model"), call_of(request))
        if served.artefact.tokenizer is None:
            raise RequestError(f'model "{served.name}" reads no text and has no tokenizer.',
                               param="model", code="model_not_capable")
        return fields, served, served.artefact.tokenizer

    return [Route("/tokenize", tokenize, methods=["POST"]),
            Route("/detokenize", detokenize, methods=["POST"])]


def ids(name: str, value: object) -> list[int]:
    """Check a list of whole numbers; whether the model has them is seen later."""
    if not isinstance(value, list) or any(type(item) is not int for item in value):
        raise wrong(name, value, "a list of token ids")
    return value


ENCODE: dict[str, Check] = {"model": text, "prompt": text, "return_token_strs": boolean}
DECODE: dict[str, Check] = {"model": text, "tokens": ids}
