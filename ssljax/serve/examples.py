"""From the inputs of a request to examples, off the event loop, and on to the encoder's answers.

`answered(request, server, function, accepted, threads)` is what the routes of encoders share.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from starlette.requests import Request

from ssljax.core.errors import RequestError
from ssljax.serve.batching import PATIENCE
from ssljax.serve.checks import Check, anything, number, text
from ssljax.serve.exchange import unless_gone
from ssljax.serve.fields import Fields, check_fields, read_object
from ssljax.serve.http import call_of, read_body
from ssljax.serve.inputs import (
    MEDIA_BODY,
    Fetch,
    fetched,
    media_of,
    medium_of,
    prepared,
    read_text,
    split_inputs,
    tokens_of,
    unwrapped,
)
from ssljax.serve.served import Served, Server

SHORT = 1024                 # characters or ids that are encoded on the event loop
DECODERS = 4                 # threads that decode inputs; Pillow and tokenizers let others run
INPUT: dict[str, Check] = {            # of every route of encoders
    "model": text, "input": anything, "user": text, "max_wait": number(0, 86400)}


class Answered(NamedTuple):
    """A request's model, fields and examples, and the encoder's answers to these."""

    served: Served
    fields: Fields
    examples: list[np.ndarray]
    rows: list[np.ndarray]


def decoding_threads() -> Executor:
    """Return threads for decoding inputs; any event loop may use them."""
    return ThreadPoolExecutor(DECODERS, thread_name_prefix="ssljax-decode")


def body_limit(server: Server) -> int:
    """Return the bytes of a body that are read where pictures and the like may be in it."""
    media = any(media_of(one.artefact) for one in server.served())
    return max(server.body, MEDIA_BODY) if media else server.body


async def answered(request: Request, server: Server, function: str,
                   accepted: Mapping[str, Check], threads: Executor) -> Answered:
    """Read a request, let the encoder of its model answer, and return both.

    Args:
        request: whose body nobody has read.
        server: of the models.
        function: of the encoder.
        accepted: the fields of the route by name, INPUT among them.
        threads: from decoding_threads.

    Raises:
        RequestError: naming the field, the value seen and what is accepted.
        GoneError: the client went first.
    """
    fields = check_fields(read_object(await read_body(request, body_limit(server))), accepted)
    served = server.find(fields.get("model"), call_of(request))
    if "input" not in fields:
        raise RequestError(f"input is missing; expected what to {function}.", param="input")
    encoding, call = encoding_of(served, function), call_of(request)

    async def work() -> tuple[list[np.ndarray], list[np.ndarray]]:
        examples = await read_examples(served, fields["input"], fetch=server.fetch,
                                       threads=threads)
        call.note(inputs=len(examples))
        return examples, await encoding.encode(function, examples, caller=call.caller.id,
                                               patience=fields.get("max_wait", PATIENCE))

    # Nothing is fetched, decoded or queued any more when the client leaves.
    examples, rows = await unless_gone(request.receive, work())
    call.note(prompt_tokens=tokens_of(served.artefact, examples))
    return Answered(served, fields, examples, rows)


def encoding_of(served: Served, function: str) -> Any:
    """Return what encodes for `served`.

    Raises:
        RequestError: the model does not have `function`.
    """
    encoding = served.encoding
    if encoding is None or function not in encoding.functions:
        able = encoding.functions if encoding else ("complete",)
        raise RequestError(f'model "{served.name}" does not {function}; it can {", ".join(able)}.',
                           param="model", code="model_not_capable")
    return encoding


async def read_examples(served: Served, value: Any, *, fetch: Fetch,
                        threads: Executor) -> list[np.ndarray]:
    """Return the examples that a request's `input` holds.

    Args:
        served: the model, which says what it reads.
        value: the field's value, any JSON.
        fetch: gets what a URL names, or refuses.
        threads: decode; few, as each may hold a large picture.

    Raises:
        RequestError: an input is not of this model.
    """
    artefact, media = served.artefact, media_of(served.artefact)
    given = split_inputs(value, reads_text=not media)
    loop = asyncio.get_running_loop()
    if not media:
        def read() -> list[np.ndarray]:
            return [read_text(item, artefact.tokenizer) for item in given]

        # The way to a thread and back costs as much as to encode a thousand characters.
        return read() if few(given) else await loop.run_in_executor(threads, read)
    names, [operations] = tuple(media), media.values()   # of several: programs of their own
    files = await fetched([unwrapped(item, names) for item in given], fetch)
    return await loop.run_in_executor(
        threads, lambda: [prepared(medium_of(file, names), operations) for file in files])


def few(given: Sequence[Any]) -> bool:
    """Say whether texts are so short that encoding them holds nobody up."""
    return sum(len(item) if isinstance(item, str | list) else 0 for item in given) <= SHORT
