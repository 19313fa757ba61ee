"""Read a body of POST /v1/completions into jobs for the engine.

https://platform.openai.com/docs/api-reference/completions, with the extensions of fields.py.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ssljax.core.errors import RequestError
from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.checks import Check, boolean, integer, only, show, text, wrong
from ssljax.serve.fields import (
    SHARED,
    Fields,
    Limits,
    check_fields,
    check_ids,
    check_room,
    choices_of,
    read_settings,
)
from ssljax.serve.jobs import Job
from ssljax.serve.sampling import TOP

DEFAULT_MAX_TOKENS = 16


class Completion(NamedTuple):
    """A request that can be answered: a job for each choice, and how the answer is wanted."""

    jobs: tuple[Job, ...]
    prompt_tokens: int
    stream: bool
    usage_in_stream: bool


def parse_completion(body: Fields, limits: Limits, tokenizer: Tokenizer, *,
                     caller: str = "") -> Completion:
    """Return what a body asks for, as `read_object` has read it.

    Args:
        body: fields by name, unchecked.
        limits: of the model.
        tokenizer: of the model.
        caller: whose request it is.

    Raises:
        RequestError: naming the field, the value seen and what is accepted.
    """
    fields = check_fields(body, FIELDS)
    given, n = split_prompts(fields.get("prompt", "")), fields.get("n", 1)
    if len(given) * n > limits.choices:
        raise RequestError(f"{len(given)} prompts times n {n} are {len(given) * n} choices; at "
                           f"most {limits.choices} in one request.", param="n")
    prompts = [read_prompt(prompt, tokenizer) for prompt in given]
    settings = read_settings(fields, tokenizer, caller=caller)
    # A seed that is given stands for every prompt: it gives the answer of the prompt alone.
    step = 0 if "seed" in fields else n
    jobs = [make_job(choice, fields, ids, text, limits) for at, (ids, text) in enumerate(prompts)
            for choice in choices_of(settings, n, first=at * step)]
    options = fields.get("stream_options", {})
    return Completion(tuple(jobs), sum(len(ids) for ids, _ in prompts),
                      fields.get("stream", False), options.get("include_usage", False))


def make_job(settings: Job, fields: Fields, prompt: tuple[int, ...], text: str,
             limits: Limits) -> Job:
    """Return the job of one choice."""
    echo, room = fields.get("echo", False), limits.context - len(prompt)
    max_tokens = fields.get("max_tokens", max(1, min(DEFAULT_MAX_TOKENS, room)))
    if max_tokens == 0 and not echo:
        raise RequestError("max_tokens 0 asks for nothing; expected at least 1, or echo true.",
                           param="max_tokens")
    check_room(len(prompt), max_tokens, limits)
    return settings._replace(prompt=prompt, text=text, max_tokens=max_tokens, echo=echo,
                             logprobs=fields.get("logprobs"))


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
    check_ids("prompt", prompt, tokenizer)
    ids = prompt if prompt[:1] == [start] else [start, *prompt]
    return tuple(ids), tokenizer.decode_bytes(ids).decode("utf-8", "replace")


def text_or_list(name: str, value: Any) -> str | list[Any]:
    """Check a string or a list; its items are checked as prompts."""
    if not isinstance(value, str | list):
        raise wrong(name, value, "a string, token ids, or a list of either")
    return value


FIELDS: Mapping[str, Check] = {
    **SHARED, "prompt": text_or_list, "max_tokens": integer(0), "logprobs": integer(0, TOP),
    "echo": boolean, "best_of": only(1), "suffix": only(""),
}
