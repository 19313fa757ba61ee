"""The fields that requests for text share, whichever route they come by: read, checked, applied.

OpenAI's fields (https://platform.openai.com/docs/api-reference/completions), and these extensions
under the names vLLM has for them (https://docs.vllm.ai/en/latest/api/vllm/sampling_params): top_k,
min_p, repetition_penalty, stop_token_ids, ignore_eos, structured_outputs. Our own is max_wait, the
seconds after which a request that still waits is given up. What is asked and not offered is refused
by name: a silently ignored field gives wrong results.
"""

import hashlib
import json
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson

from ssljax.core.errors import RequestError, nearest
from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.checks import (
    Check,
    boolean,
    integer,
    kind,
    number,
    object_of,
    show,
    some,
    some_text,
    text,
    wrong,
)
from ssljax.serve.grammars import grammar_of, response_format, structured_outputs
from ssljax.serve.jobs import Job, Sampling
from ssljax.serve.rows import BIASES

MAX_STOPS = 4
MAX_TEMPERATURE = 2.0
MAX_BIAS = 100.0
SEEDS = 2**32                    # that the sampler tells apart
LARGE = 1 << 20                    # bytes of a body that may be of any form
MOST_VALUES = 1 << 18              # in a larger one; a picture of 224 x 224 has 150,528
TOKEN = re.compile("[0-9]{1,9}")

Fields = Mapping[str, Any]


class Limits(NamedTuple):
    """What a model accepts.

    context: tokens of prompt and answer together
    choices: answers of one request: prompts times n
    """

    context: int
    choices: int = 16


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`.

    Raises:
        RequestError: it is none (400), or has more values than a large body may have (413).
    """
    check_values(body)
    try:
        fields = parsed(body)
    except (ValueError, RecursionError) as err:
        raise RequestError(f"The body is not JSON: {err}.") from err
    if not isinstance(fields, dict):
        raise RequestError(f"The body is {kind(fields)}; expected a JSON object.")
    return fields


def check_values(body: bytes) -> None:
    """Raise RequestError (413) for a large body of many small values.

    Nothing else runs while JSON is read. A file in base64 is one value and is soon read; each
    number is an object, and 32 MiB of them would hold everybody up for more than a second.
    """
    if len(body) <= LARGE:
        return
    commas = np.count_nonzero(np.frombuffer(body, np.uint8) == ord(","))    # lets others run
    if commas >= MOST_VALUES:
        raise RequestError(f"The body has {len(body)} bytes and about {commas + 1} values; above "
                           f"{LARGE} bytes it may have {MOST_VALUES}. Send files or pixels as "
                           "base64, or tensors as binary data.", status=413)


def parsed(body: bytes) -> Any:
    """Return the JSON in `body`.

    orjson takes a tenth of the time. What it refuses may be JSON all the same (halves of
    characters, depth, UTF-16), and Python says better what is wrong.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body, parse_constant=refuse_constant)


def check_fields(fields: Fields, known: Mapping[str, Check]) -> dict[str, Any]:
    """Return the checked fields of a body, without those that are null (OpenAI's "not given").

    Raises:
        RequestError: a field is not among `known`, or its value is not as it should be.
    """
    for name in fields:
        if name not in known:
            raise RequestError(f"Unknown field {show(name)}; {nearest(name, known)}", param=None)
    try:
        return {name: known[name](name, x) for name, x in fields.items() if x is not None}
    except RecursionError as err:        # what could just be read is too deep to be looked at
        raise RequestError(f"The body is nested too deeply: {err}.") from err


def read_settings(fields: Fields, tokenizer: Tokenizer, *, caller: str = "") -> Job:
    """Return a job without a prompt: how to generate, as the shared fields say.

    Its seed is the request's, or drawn.

    Args:
        fields: from `check_fields`.
        tokenizer: of the model, which has the ids that fields may name.
        caller: whose request it is.
    """
    bias = fields.get("logit_bias", ())
    check_ids("logit_bias", [token for token, _ in bias], tokenizer)
    check_ids("stop_token_ids", fields.get("stop_token_ids", ()), tokenizer)
    sampling = Sampling(
        temperature=fields.get("temperature", 1.0), top_k=fields.get("top_k", 0),
        top_p=fields.get("top_p", 1.0), min_p=fields.get("min_p", 0.0),
        presence=fields.get("presence_penalty", 0.0), bias=bias,
        frequency=fields.get("frequency_penalty", 0.0),
        repetition=fields.get("repetition_penalty", 1.0),
        seed=folded(fields["seed"]) if "seed" in fields else secrets.randbits(32))
    wait = fields.get("max_wait")
    return Job((), "", 0, sampling, fields.get("stop", ()), grammar=read_grammar(fields),
               stop_ids=fields.get("stop_token_ids", ()), caller=caller,
               ignore_eos=fields.get("ignore_eos", False),
               deadline=None if wait is None else time.monotonic() + wait)


def read_grammar(fields: Fields) -> str | None:
    """Return the grammar that the fields ask for, if any."""
    asked = [name for name in ("response_format", "structured_outputs") if fields.get(name)]
    if len(asked) == 2:
        raise RequestError("response_format and structured_outputs are two grammars for one text; "
                           "give one.", param="structured_outputs")
    if asked and fields.get("ignore_eos"):
        raise RequestError(f"ignore_eos would go on past the end of {asked[0]}; give one of them.",
                           param="ignore_eos")
    return grammar_of(fields[asked[0]]) if asked else None


def folded(seed: int) -> int:
    """Return what the sampler takes of a seed of 64 bits, as OpenAI has them.

    Those of 32 bits are taken as they are; others are hashed, since cut to 32 bits -1 would be
    2**32 - 1, and seeds that count up from 2**32 those that count from 0.
    """
    if 0 <= seed < SEEDS:
        return seed
    digest = hashlib.sha256(seed.to_bytes(8, "big", signed=True)).digest()
    return int.from_bytes(digest[:4], "big")


def choices_of(job: Job, n: int, *, first: int = 0) -> list[Job]:
    """Return the jobs of n choices, each by a seed of its own, that of the job + `first` onwards.

    The first of them is what the same request without n would give.
    """
    seeds = [(job.sampling.seed + first + choice) % SEEDS for choice in range(n)]
    return [job._replace(sampling=job.sampling._replace(seed=seed)) for seed in seeds]


def check_room(prompt: int, max_tokens: int, limits: Limits) -> None:
    """Raise RequestError unless a prompt of so many tokens and its answer fit the context."""
    room = limits.context - prompt
    if max_tokens > room:
        raise RequestError(
            f"The prompt has {prompt} tokens (its start token included) and max_tokens is "
            f"{max_tokens}: {prompt + max_tokens} together; the model reads at most "
            f"{limits.context}. Shorten the prompt, or ask for fewer tokens.",
            param="max_tokens" if room > 0 else "prompt", code="context_length_exceeded")


def check_ids(name: str, ids: Any, tokenizer: Tokenizer) -> None:
    """Raise RequestError unless the model has all of `ids`."""
    bad = [i for i in ids if not 0 <= i < tokenizer.vocab_size]
    if bad:
        raise RequestError(f"{name} holds the token id {bad[0]}; the model has ids 0 to "
                           f"{tokenizer.vocab_size - 1}.", param=name)


def logit_bias(name: str, value: Any) -> tuple[tuple[int, float], ...]:
    """Check {"token id": bias}; JSON has strings for keys."""
    if not isinstance(value, dict) or not all(map(TOKEN.fullmatch, value)):
        raise wrong(name, value, 'an object of token ids, as {"50256": -100}')
    if len(value) > BIASES:
        raise RequestError(f"{name} has {len(value)} ids; expected at most {BIASES}.", param=name)
    check = number(-MAX_BIAS, MAX_BIAS)
    found = {int(key): check(f"{name}.{key}", item) for key, item in value.items()}
    if len(found) < len(value):
        raise wrong(name, value, "each token id once")
    return tuple(found.items())


def refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(f"{name} is no JSON value")


SHARED: Mapping[str, Check] = {
    "model": text, "user": text, "n": integer(1), "stop": some(some_text, MAX_STOPS),
    "stop_token_ids": some(integer(0), BIASES), "ignore_eos": boolean,
    "seed": integer(-(2**63), 2**63 - 1), "temperature": number(0, MAX_TEMPERATURE),
    "top_k": integer(0, 2**31 - 1), "top_p": number(0, 1), "min_p": number(0, 1),
    "presence_penalty": number(-2, 2), "frequency_penalty": number(-2, 2),
    "repetition_penalty": number(0.1, 10), "logit_bias": logit_bias,
    "response_format": response_format, "structured_outputs": structured_outputs,
    "max_wait": number(0, 86400), "stream": boolean,
    "stream_options": object_of({"include_usage": boolean}),
}
