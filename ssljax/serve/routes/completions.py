"""POST /v1/completions: prompt to text, whole or streamed by server-sent events."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from ssljax.core.errors import RequestError
from ssljax.serve import answers
from ssljax.serve.completions import parse_completion
from ssljax.serve.exchange import open_exchange
from ssljax.serve.fields import read_object
from ssljax.serve.http import call_of, read_body
from ssljax.serve.replies import Form, reply
from ssljax.serve.served import Server

FORM = Form(answers.whole, lambda answer: [], answers.part, answers.last_part)


def routes(server: Server) -> list[BaseRoute]:
    """Return the route of completions."""
    async def completions(request: Request) -> ASGIApp:
        return await complete(request, server)

    return [Route("/v1/completions", completions, methods=["POST"])]


async def complete(request: Request, server: Server) -> ASGIApp:
    """Answer one completion request."""
    call = call_of(request)
    fields = read_object(await read_body(request, server.body))
    served = server.find(fields.get("model"), call)
    engine, tokenizer = served.engine, served.artefact.tokenizer
    if engine is None:
        raise RequestError(f'model "{served.name}" generates no text; see /v1/models.',
                           param="model")
    asked = await run_in_threadpool(parse_completion, fields, served.limits, tokenizer,
                                    caller=call.caller.id)
    answer = answers.Answer(f"cmpl-{call.id}", call.created, served.name, served.fingerprint, asked,
                            tokenizer)
    return await reply(request, open_exchange(engine, asked), answer, FORM)
