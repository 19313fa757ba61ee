"""What a round asks of every pane: checked fields of the page's request, as the body of each.

Reads the JSON of POST /arena/rounds; a field that is unknown or out of range is refused by name.
"""

import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from ssljax.core.errors import RequestError
from ssljax.serve.arena.contestants import Contestant
from ssljax.serve.checks import text

MOST_PANES = 6
LONGEST_PROMPT = 200_000         # characters
MOST_TOKENS = 16_384
MODES = ("complete", "chat")
ALTERNATIVES = 3                 # tokens shown beside the one that was drawn
SEEDS = 2**31                    # what every server takes


class Ask(NamedTuple):
    """What all panes are asked, with the same seed.

    mode:    "complete" continues the prompt, "chat" answers it
    details: whether tokens and their probabilities are wanted, which not every server gives
    """

    prompt: str
    mode: str
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    details: bool


class Request(NamedTuple):
    """A round as the page asks for it: names in the order of the panes, and whether they hide."""

    ask: Ask
    names: tuple[str, ...]
    blind: bool


FIELDS = {"prompt", "mode", "max_tokens", "temperature", "top_p", "seed", "details", "models",
          "blind"}


def read_request(body: Mapping[str, Any]) -> Request:
    """Return the round that the page asks for.

    Raises:
        RequestError: naming the field, the value seen and what was expected.
    """
    unknown = sorted(set(body) - FIELDS)
    if unknown:
        raise RequestError(f'Unknown field "{unknown[0]}"; known: {", ".join(sorted(FIELDS))}.')
    prompt, mode = body.get("prompt"), body.get("mode", "complete")
    if not isinstance(prompt, str) or not 0 < len(prompt) <= LONGEST_PROMPT:
        raise RequestError(f"prompt: expected 1 to {LONGEST_PROMPT} characters.", param="prompt")
    if mode not in MODES:
        raise RequestError(f"mode is {str(mode)[:40]!r}; expected one of {', '.join(MODES)}.",
                           param="mode")
    text("prompt", prompt)
    seed = body.get("seed")
    ask = Ask(prompt, mode, int(number(body, "max_tokens", 64, 1, MOST_TOKENS, int)),
              number(body, "temperature", 0.8, 0, 2, float),
              number(body, "top_p", 0.95, 0, 1, float),
              secrets.randbelow(SEEDS) if seed is None else
              int(number(body, "seed", 0, 0, SEEDS - 1, int)), boolean(body, "details"))
    return Request(ask, names_of(body.get("models")), boolean(body, "blind"))


def names_of(models: Any) -> tuple[str, ...]:
    """Return the names of the panes' models."""
    if (not isinstance(models, list) or not 1 <= len(models) <= MOST_PANES
            or not all(isinstance(name, str) for name in models) or len(set(models)) < len(models)):
        raise RequestError(f"models: expected 1 to {MOST_PANES} different names of models.",
                           param="models")
    return tuple(models)


def number(body: Mapping[str, Any], name: str, default: float, low: float, high: float,
           kind: type) -> float:
    """Return a field that is a number from low to high."""
    value = body.get(name)
    if value is None:
        return default
    fits = type(value) is int or (kind is float and type(value) is float)
    if not fits or not low <= value <= high:
        raise RequestError(f"{name} is {str(value)[:40]}; expected a "
                           f"{'whole ' if kind is int else ''}number from {low:g} to {high:g}.",
                           param=name)
    return value


def boolean(body: Mapping[str, Any], name: str) -> bool:
    """Return a field that is true or false, false if it is not there."""
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise RequestError(f"{name} is {str(value)[:40]}; expected true or false.", param=name)
    return value


def choose(contestants: list[Contestant], names: tuple[str, ...]) -> list[Contestant]:
    """Return the contestants of the panes.

    Raises:
        RequestError: one is not there, or writes no text.
    """
    known = {one.name: one for one in contestants if one.kind == "decoder"}
    for name in names:
        if name not in known:
            raise RequestError(f'models: "{name[:80]}" cannot be compared now; these can: '
                               f'{", ".join(known) or "none"}.', status=404, param="models")
    return [known[name] for name in names]


def path_and_body(ask: Ask, model: str) -> tuple[str, dict[str, Any]]:
    """Return the path and JSON of one pane's request, in OpenAI's fields."""
    body: dict[str, Any] = {
        "model": model, "max_tokens": ask.max_tokens, "temperature": ask.temperature,
        "top_p": ask.top_p, "seed": ask.seed, "stream": True,
        "stream_options": {"include_usage": True}}
    if ask.mode == "complete":
        more = {"logprobs": ALTERNATIVES} if ask.details else {}
        return "/v1/completions", {**body, "prompt": ask.prompt, **more}
    more = {"logprobs": True, "top_logprobs": ALTERNATIVES} if ask.details else {}
    return "/v1/chat/completions", {
        **body, "messages": [{"role": "user", "content": ask.prompt}], **more}
