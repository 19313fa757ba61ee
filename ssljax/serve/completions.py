"""Read a body of POST /v1/completions: OpenAI's fields, each checked, into jobs for the engine.

https://platform.openai.com/docs/api-reference/completions; top_k is the one extension. What is
asked and not offered is refused by name: a silently ignored field gives wrong results.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ssljax.core.errors import RequestError, nearest
from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.jobs import Job, Sampling
from ssljax.serve.sampling import TOP

DEFAULT_MAX_TOKENS = 16
MAX_STOPS = 4
MAX_TEMPERATURE = 2.0
SEEDS = 2**32

Check = Callable[[str, Any], Any]      # (field, value) -> value, or raise RequestError


class Limits(NamedTuple):
    """What a model accepts.

    context: tokens of prompt and answer together
    choices: answers of one request: prompts times n
    """

    context: int
    choices: int = 16


class Completion(NamedTuple):
    """A request that can be answered: a job for each choice, and how the answer is wanted."""

    jobs: tuple[Job, ...]
    prompt_tokens: int
    stream: bool
    usage_in_stream: bool


def parse_completion(body: Mapping[str, Any], limits: Limits, tokenizer: Tokenizer) -> Completion:
    """Return what a body asks for, as `read_object` has read it.

    Raises:
        RequestError: naming the field, the value seen and what is accepted.
    """
    fields = check_fields(body)
    given, n = split_prompts(fields.get("prompt", "")), fields.get("n", 1)
    if len(given) * n > limits.choices:
        raise RequestError(f"{len(given)} prompts times n {n} are {len(given) * n} choices; at "
                           f"most {limits.choices} in one request.", param="n")
    prompts = [read_prompt(prompt, tokenizer) for prompt in given]
    jobs = [make_job(fields, ids, text, choice, limits)
            for ids, text in prompts for choice in range(n)]
    seed = fields.get("seed", secrets.randbits(32))
    jobs = [job._replace(sampling=job.sampling._replace(seed=(seed + job.sampling.seed) % SEEDS))
            for job in jobs]
    options = fields.get("stream_options", {})
    return Completion(tuple(jobs), sum(len(ids) for ids, _ in prompts),
                      fields.get("stream", False), options.get("include_usage", False))


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`."""
    try:
        fields = json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as err:
        raise RequestError(f"The body is not JSON: {err}.") from err
    if not isinstance(fields, dict):
        raise RequestError(f"The body is {kind(fields)}; expected a JSON object.")
    return fields


def check_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked fields of a body, without those that are null (OpenAI's "not given")."""
    for name in fields:
        if name not in FIELDS:
            raise RequestError(f"Unknown field {show(name)}; {nearest(name, FIELDS)}", param=None)
    return {name: FIELDS[name](name, value) for name, value in fields.items() if value is not None}


def make_job(fields: Mapping[str, Any], prompt: tuple[int, ...], text: str, choice: int,
             limits: Limits) -> Job:
    """Return one choice's job; its seed is the number of the choice, to be added to the request's.

    So the first choice of a request is what the same request without n would have given.
    """
    echo, room = fields.get("echo", False), limits.context - len(prompt)
    max_tokens = fields.get("max_tokens", max(1, min(DEFAULT_MAX_TOKENS, room)))
    if max_tokens == 0 and not echo:
        raise RequestError("max_tokens 0 asks for nothing; expected at least 1, or echo true.",
                           param="max_tokens")
    if max_tokens > room:
        raise RequestError(
            f"The prompt has {len(prompt)} tokens (its start token included) and max_tokens is "
            f"{max_tokens}: {len(prompt) + max_tokens} together; the model reads at most "
            f"{limits.context}. Shorten the prompt, or ask for fewer tokens.",
            param="max_tokens" if room > 0 else "prompt", code="context_length_exceeded")
    sampling = Sampling(fields.get("temperature", 1.0), fields.get("top_k", 0),
                        fields.get("top_p", 1.0), choice)
    return Job(prompt, text, max_tokens, sampling, fields.get("stop", ()), fields.get("logprobs"),
               echo)


def split_prompts(prompt: Any) -> list[Any]:
    """Return the prompts in a field that holds one or several, of text or of ids."""
    if isinstance(prompt, str) or (prompt and all(isinstance(i, int) for i in prompt)):
        return [prompt]
    if not prompt:
        raise RequestError("prompt is an empty list; expected at least one prompt.", param="prompt")
    return prompt


def read_prompt(prompt: Any, tokenizer: Tokenizer) -> tuple[tuple[int, ...], str]:
    """Return the ids of a prompt, the start token first, and its text."""
    start = tokenizer.end_of_text
    if isinstance(prompt, str):
        return (start, *tokenizer.encode(text("prompt", prompt))), prompt
    if not isinstance(prompt, list) or any(type(i) is not int for i in prompt):
        raise RequestError(f"prompt holds {show(prompt)}; expected a string, token ids, or a list "
                           "of either.", param="prompt")
    bad = [i for i in prompt if not 0 <= i < tokenizer.vocab_size]
    if bad:
        raise RequestError(f"prompt holds the token id {bad[0]}; the model has ids 0 to "
                           f"{tokenizer.vocab_size - 1}.", param="prompt")
    ids = prompt if prompt[:1] == [start] else [start, *prompt]
    return tuple(ids), tokenizer.decode_bytes(ids).decode("utf-8", "replace")


def number(low: float, high: float) -> Check:
    """Return a check for a number from low to high."""
    def check(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(name, value, f"a number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise wrong(name, value, f"from {low:g} to {high:g}")
        return float(value)

    return check


def integer(low: int, high: int | None = None) -> Check:
    """Return a check for a whole number from low to high."""
    expected = f"at least {low}" if high is None else f"from {low} to {high}"

    def check(name: str, value: Any) -> int:
        if type(value) is not int:
            raise wrong(name, value, f"a whole number, {expected}")
        if value < low or (high is not None and value > high):
            raise wrong(name, value, expected)
        return value

    return check


def boolean(name: str, value: Any) -> bool:
    """Check true or false."""
    if not isinstance(value, bool):
        raise wrong(name, value, "true or false")
    return value


def text(name: str, value: Any) -> str:
    """Check a string that is Unicode text; JSON can spell halves of characters, which are none."""
    if not isinstance(value, str):
        raise wrong(name, value, "a string")
    try:
        value.encode()
    except UnicodeEncodeError as err:
        raise wrong(name, value, f"Unicode text (character {err.start} is half of a pair)") from err
    return value


def strings(name: str, value: Any) -> tuple[str, ...]:
    """Check one string or a few, none of them empty."""
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_STOPS:
        raise wrong(name, value, f"at most {MAX_STOPS} strings")
    if not all(text(name, item) for item in values):
        raise wrong(name, value, "strings that are not empty")
    return tuple(values)


def text_or_list(name: str, value: Any) -> str | list[Any]:
    """Check a string or a list; its items are checked as prompts."""
    if not isinstance(value, str | list):
        raise wrong(name, value, "a string, token ids, or a list of either")
    return value


def stream_options(name: str, value: Any) -> dict[str, bool]:
    """Check {"include_usage": true or false}."""
    if not isinstance(value, dict) or not set(value) <= {"include_usage"}:
        raise wrong(name, value, 'an object with "include_usage"')
    return {key: boolean(f"{name}.{key}", item) for key, item in value.items()}


def only(neutral: Any) -> Check:
    """Return a check of a field that is not offered: only the value without effect is accepted."""
    def check(name: str, value: Any) -> Any:
        if value != neutral:
            raise wrong(name, value, f"{json.dumps(neutral)}: this server does not offer {name}")
        return value

    return check


FIELDS: Mapping[str, Check] = {
    "model": text, "prompt": text_or_list, "user": text, "stop": strings,
    "max_tokens": integer(0), "n": integer(1), "top_k": integer(0), "seed": integer(0, SEEDS - 1),
    "logprobs": integer(0, TOP), "temperature": number(0, MAX_TEMPERATURE), "top_p": number(0, 1),
    "echo": boolean, "stream": boolean, "stream_options": stream_options,
    "best_of": only(1), "presence_penalty": only(0), "frequency_penalty": only(0),
    "logit_bias": only({}), "suffix": only(""),
}


def wrong(name: str, value: Any, expected: str) -> RequestError:
    """Return the error of a field with a bad value."""
    return RequestError(f"{name} is {show(value)}; expected {expected}.", param=name)


def show(value: Any) -> str:
    """Return a value as JSON in ASCII, cut to a length that fits a message."""
    shown = json.dumps(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def kind(value: Any) -> str:
    """Return what JSON calls a value's type."""
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(f"{name} is no JSON value")
