"""POST /v1/completions: prompt to text, whole or streamed by server-sent events."""

from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from ssljax.core.errors import RequestError
from ssljax.serve import answers
from ssljax.serve.completions import Completion, parse_completion
from ssljax.serve.exchange import open_exchange
from ssljax.serve.fields import Fields, read_object
from ssljax.serve.http import call_of, read_body
from ssljax.serve.replies import Form, reply
from ssljax.serve.served import Call, Served, Server

SMALL = 2048                       # bytes of a body that is read on the event loop

FORM = Form(answers.whole, lambda answer: [], answers.part, answers.last_part)


def routes(server: Server) -> list[BaseRoute]:
    """Return the route of completions."""
    async def completions(request: Request) -> ASGIApp:
        return await complete(request, server)

    return [Route("/v1/completions", completions, methods=["POST"])]


async def complete(request: Request, server: Server) -> ASGIApp:
    """Answer one completion request."""
    call = call_of(request)
    body = await read_body(request, server.body)
    fields = read_object(body)
    served = server.find(fields.get("model"), call)
    engine, tokenizer = served.engine, served.artefact.tokenizer
    if engine is None:
        raise RequestError(f'model "{served.name}" generates no text; see /v1/models.',
                           param="model")
    asked = await parsed(len(body), fields, served, call)
    answer = answers.Answer(f"cmpl-{call.id}", call.created, served.name, served.fingerprint, asked,
                            tokenizer)
    return await reply(request, await open_exchange(engine, asked), answer, FORM)


async def parsed(size: int, fields: Fields, served: Served, call: Call) -> Completion:
    """Return what a body of `size` bytes asks for; a thread reads those that take long.

    The way to a thread and back costs as much as to encode a thousand characters.
    """
    parse = partial(parse_completion, fields, served.limits, served.artefact.tokenizer,
                    caller=call.caller.id)
    quick = size <= SMALL and not any(map(fields.get, ("response_format", "structured_outputs")))
    return parse() if quick else await run_in_threadpool(parse)
