"""POST /v1/chat/completions: messages to the next one, whole or in chunks."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from ssljax.core.errors import RequestError
from ssljax.serve import chat_answers
from ssljax.serve.answers import Answer
from ssljax.serve.chat import parse_chat
from ssljax.serve.exchange import open_exchange
from ssljax.serve.fields import read_object
from ssljax.serve.http import call_of, read_body
from ssljax.serve.replies import Form, reply
from ssljax.serve.served import Served, Server

FORM = Form(chat_answers.whole, chat_answers.opening, chat_answers.part, chat_answers.last_part)


def routes(server: Server) -> list[BaseRoute]:
    """Return the route of chat."""
    async def chat(request: Request) -> ASGIApp:
        return await converse(request, server)

    return [Route("/v1/chat/completions", chat, methods=["POST"])]


async def converse(request: Request, server: Server) -> ASGIApp:
    """Answer one chat request."""
    call = call_of(request)
    fields = read_object(await read_body(request, server.body))
    served = server.find(fields.get("model"), call)
    check_talks(served)
    tokenizer = served.artefact.tokenizer
    asked = await run_in_threadpool(parse_chat, fields, served.limits, tokenizer, served.turns,
                                    caller=call.caller.id)
    answer = Answer(f"chatcmpl-{call.id}", call.created, served.name, served.fingerprint, asked,
                    tokenizer)
    return await reply(request, await open_exchange(served.engine, asked), answer, FORM)


def check_talks(served: Served) -> None:
    """Raise RequestError unless the model generates text and says how it is talked to."""
    if served.engine is None:
        raise RequestError(f'model "{served.name}" generates no text; see /v1/models.',
                           param="model", code="model_not_capable")
    if served.turns is None:
        raise RequestError(f'model "{served.name}" has no chat template: it continues text and was '
                           "not taught to converse. Use /v1/completions, or export it with "
                           "--chat-template FILE.", param="model", code="model_not_capable")
