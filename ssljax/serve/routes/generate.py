"""The generate extension of KServe's protocol: text in, text out, whole or by events.

    {"text_input": "...", "parameters": {"max_tokens": 20, "temperature": 0, ...}}

Parameters are the fields of /v1/completions. Each event of a stream has the text that is new.
"""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.types import ASGIApp

from ssljax.core.errors import RequestError
from ssljax.serve.answers import Answer, Json, usage
from ssljax.serve.checks import Check, show, text, wrong
from ssljax.serve.completions import FIELDS
from ssljax.serve.exchange import open_exchange
from ssljax.serve.fields import check_fields, read_object
from ssljax.serve.http import call_of, read_body
from ssljax.serve.jobs import Piece
from ssljax.serve.replies import Form, reply
from ssljax.serve.routes.completions import parsed
from ssljax.serve.served import Served, Server

NOT_HERE = frozenset(("model", "prompt", "n", "stream", "stream_options", "echo", "best_of",
                      "suffix"))


async def generate(request: Request, server: Server, served: Served, *, stream: bool) -> ASGIApp:
    """Answer one generate request.

    Args:
        request: whose body has not been read.
        server: whose limits hold.
        served: the model.
        stream: whether the path asked for events.

    Raises:
        RequestError: the model generates nothing, or a field is wrong.
    """
    call = call_of(request)
    if served.engine is None:
        raise RequestError(f'Model "{served.name}" generates no text; see its /infer.')
    body = await read_body(request, server.body)
    fields = check_fields(read_object(body), GENERATE)
    if "text_input" not in fields:
        raise RequestError("text_input is missing; expected a string.", param="text_input")
    given = {**fields.get("parameters", {}), "prompt": fields["text_input"], "stream": stream}
    tokenizer = served.artefact.tokenizer
    asked = await parsed(len(body), given, served, call)
    answer = Answer(fields.get("id", ""), call.created, served.name, served.fingerprint, asked,
                    tokenizer)
    form = Form(lambda answer, parts: whole(served, answer, parts), lambda answer: [],
                lambda answer, index, piece: part(served, answer, [piece]),
                lambda answer, tokens: {}, done="")
    return await reply(request, await open_exchange(served.engine, asked), answer, form)


def whole(served: Served, answer: Answer, parts: Sequence[Sequence[Piece]]) -> Json:
    """Return the answer in one piece."""
    [pieces] = parts
    return part(served, answer, pieces)


def part(served: Served, answer: Answer, pieces: Sequence[Piece]) -> Json:
    """Return the answer that `pieces` are; why it ends, and the counts, with its last one."""
    last = pieces[-1]
    ended = {"details": {"finish_reason": last.finish, "seed": answer.asked.jobs[0].sampling.seed,
                         **usage(answer, last.tokens)}} if last.finish else {}
    named = {"id": answer.id} if answer.id else {}
    return {**named, "model_name": served.name, "model_version": served.version,
            "text_output": "".join(piece.text for piece in pieces), **ended}


def parameters(name: str, value: object) -> dict[str, object]:
    """Check an object of fields of a completion that mean something here."""
    if not isinstance(value, dict):
        raise wrong(name, value, "an object")
    known = sorted(FIELDS.keys() - NOT_HERE)
    for key in value:
        if key not in known:
            raise RequestError(f"Unknown parameter {show(key)}; known: {', '.join(known)}.",
                               param=name)
    return value


GENERATE: dict[str, Check] = {"id": text, "text_input": text, "parameters": parameters}
