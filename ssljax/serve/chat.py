"""Read a body of POST /v1/chat/completions: messages through the artefact's template into jobs.

https://platform.openai.com/docs/api-reference/chat, with the extensions of fields.py. The manifest
names the template and what ends a turn: "chat": {"template": "chat_template.jinja", "stop": [...]}.
Tools, audio and pictures in messages are refused by name.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ssljax.core.errors import RequestError
from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.artefact import Artefact
from ssljax.serve.checks import Check, boolean, integer, one_of, only, show, text, wrong
from ssljax.serve.completions import Completion
from ssljax.serve.fields import (
    SHARED,
    Fields,
    Limits,
    check_fields,
    check_room,
    choices_of,
    read_settings,
)
from ssljax.serve.manifest import read_listed
from ssljax.serve.rendering import Rendered, Renderer
from ssljax.serve.sampling import TOP

ROLES = ("system", "developer", "user", "assistant")
MOST_MESSAGES = 1024
BOUNDARY = "<|endoftext|>"         # in the text that logs and figures see; ids have the token

Render = Callable[[Mapping[str, Any]], Rendered]


class Message(NamedTuple):
    """What someone said."""

    role: str
    content: str
    name: str | None = None


class Turns(NamedTuple):
    """How a model is talked to: its template, the strings that end what it says, and the end."""

    render: Render
    stop: tuple[str, ...] = ()
    close: Callable[[], None] = lambda: None


def turns_of(artefact: Artefact) -> Turns | None:
    """Return how an artefact's model is talked to; None where it has no template.

    Raises:
        ArtefactError: the template is missing, damaged, or none.
    """
    about = artefact.manifest.get("chat")
    if about is None:
        return None
    source = read_listed(artefact.path, artefact.manifest, about.get("template"), ".jinja")
    renderer = Renderer(source.decode("utf-8", "replace"), BOUNDARY)
    with renderer.lock:                  # a template that is none is found now, not by a client
        renderer.start()
    return Turns(renderer.render, tuple(about.get("stop", ())), renderer.close)


def parse_chat(body: Fields, limits: Limits, tokenizer: Tokenizer, turns: Turns, *,
               caller: str = "") -> Completion:
    """Return what a body asks for, as `read_object` has read it; call it in a thread.

    Args:
        body: fields by name, unchecked.
        limits: of the model.
        tokenizer: of the model.
        turns: of the model.
        caller: whose request it is.

    Raises:
        RequestError: naming the field, the value seen and what is accepted.
    """
    fields = check_fields(body, FIELDS)
    if "messages" not in fields:
        raise RequestError("messages is missing; expected a list of messages.", param="messages")
    n = fields.get("n", 1)
    if n > limits.choices:
        raise RequestError(f"n is {n}; at most {limits.choices} choices in one request.", param="n")
    prompt, said = prompt_of(fields["messages"], tokenizer, turns)
    max_tokens = answer_length(fields, len(prompt), limits)
    settings = read_settings(fields, tokenizer, caller=caller)
    settings = settings._replace(prompt=prompt, text=said, max_tokens=max_tokens,
                                 stop=settings.stop + turns.stop, logprobs=alternatives(fields))
    options = fields.get("stream_options", {})
    return Completion(tuple(choices_of(settings, n)), len(prompt), fields.get("stream", False),
                      options.get("include_usage", False))


def prompt_of(messages: Sequence[Message], tokenizer: Tokenizer,
              turns: Turns) -> tuple[tuple[int, ...], str]:
    """Return the ids of rendered messages, the start token first, and their text."""
    said = [{key: x for key, x in message._asdict().items() if x is not None}
            for message in messages]
    parts = turns.render({"messages": said, "add_generation_prompt": True}).parts
    ids = list(tokenizer.encode(parts[0]))
    for part in parts[1:]:
        ids += [tokenizer.end_of_text, *tokenizer.encode(part)]
    start = [] if ids[:1] == [tokenizer.end_of_text] else [tokenizer.end_of_text]
    return (*start, *ids), BOUNDARY.join(parts)


def answer_length(fields: Fields, prompt: int, limits: Limits) -> int:
    """Return how many tokens an answer may have: what fits, unless the request says less."""
    both = [fields[name] for name in ("max_completion_tokens", "max_tokens") if name in fields]
    max_tokens = min(both) if both else max(1, limits.context - prompt)
    check_room(prompt, max_tokens, limits)
    return max_tokens


def alternatives(fields: Fields) -> int | None:
    """Return how many alternatives of each token to report; None for no log probabilities."""
    if "top_logprobs" in fields and not fields.get("logprobs"):
        raise RequestError("top_logprobs is given and logprobs is not true; set it.",
                           param="top_logprobs")
    return fields.get("top_logprobs", 0) if fields.get("logprobs") else None


def messages(name: str, value: Any) -> list[Message]:
    """Check a list of messages."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_MESSAGES:
        raise wrong(name, value, f"a list of 1 to {MOST_MESSAGES} messages")
    return [message(f"{name}[{at}]", item) for at, item in enumerate(value)]


def message(name: str, value: Any) -> Message:
    """Check one message."""
    if not isinstance(value, dict):
        raise wrong(name, value, "an object with role and content")
    for key, item in value.items():
        if key not in ("role", "content", "name", "refusal") and item is not None:
            raise RequestError(f"{name}.{show(key)} is not offered by this server; known: role, "
                               "content, name.", param=name)
    role = value.get("role")
    if role not in ROLES:
        raise wrong(f"{name}.role", role, f"one of {', '.join(ROLES)}; this server calls no tools")
    spoken = value.get("name")
    return Message(role, content(f"{name}.content", value.get("content")),
                   None if spoken is None else text(f"{name}.name", spoken))


def content(name: str, value: Any) -> str:
    """Check what a message says: a string, or parts of text to be joined."""
    if isinstance(value, str):
        return text(name, value)
    if not isinstance(value, list) or not value:
        raise wrong(name, value, "a string, or a list of parts of text")
    return "".join(part(f"{name}[{at}]", item) for at, item in enumerate(value))


def part(name: str, value: Any) -> str:
    """Check one part of a message; models here read text."""
    if not isinstance(value, dict) or value.get("type") != "text" or set(value) != {"type", "text"}:
        raise wrong(name, value, '{"type": "text", "text": ...}: this model reads text only')
    return text(f"{name}.text", value["text"])


def labels(name: str, value: Any) -> dict[str, str]:
    """Check OpenAI's metadata; nothing is stored, so nothing is done with it."""
    if not isinstance(value, dict):
        raise wrong(name, value, "an object of strings")
    return {text(name, key): text(f"{name}.{key}", item) for key, item in value.items()}


FIELDS: Mapping[str, Check] = {
    **SHARED, "messages": messages, "max_tokens": integer(1), "max_completion_tokens": integer(1),
    "logprobs": boolean, "top_logprobs": integer(0, TOP), "metadata": labels, "store": only(False),
    "tools": only([]), "tool_choice": only("none"), "parallel_tool_calls": boolean,
    "functions": only([]), "function_call": only("none"), "modalities": only(["text"]),
    "service_tier": one_of("auto", "default"), "safety_identifier": text, "prompt_cache_key": text,
}
