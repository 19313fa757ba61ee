"""What a request says its answer must look like, as a grammar of llguidance that has been checked.

Reads OpenAI's `response_format` (https://platform.openai.com/docs/guides/structured-outputs) and
vLLM's `structured_outputs` (https://docs.vllm.ai/en/latest/features/structured_outputs), returns
the text that guides.py follows. The library (MIT, one Rust wheel without dependencies) says which
keywords of JSON Schema it can enforce; a schema with any other is refused, never half obeyed.
https://github.com/guidance-ai/llguidance/blob/main/docs/json_schema.md
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from ssljax.core.errors import MissingExtraError, RequestError
from ssljax.serve.checks import boolean, object_of, some_text, text, wrong

MAX_SOURCE = 1 << 15             # characters; compiling one of these takes up to 0.2 seconds
MAX_SYMBOLS = 100_000            # of the compiled grammar
MAX_CHOICES = 1000
MAX_TRIES = 60                   # parts of a wrong schema that are looked at for its message
DEFINITIONS = ("$defs", "definitions")
# A model that writes blanks for ever would never end: at most so many between two words of JSON.
BLANKS = r"[ \t\r\n]{1,20}"


class Wanted(NamedTuple):
    """A grammar that was asked for.

    kind:   "json" (a schema), "regex" or "lark"
    source: the schema, or the text
    where:  its place in the request, for messages
    """

    kind: str
    source: Any
    where: str


def response_format(name: str, value: Any) -> Wanted | None:
    """Check OpenAI's field; "text" asks for nothing."""
    kinds = '"type": "text", "json_object" or "json_schema"'
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise wrong(name, value, f"an object with {kinds}")
    known = {"type": text} | ({"json_schema": json_schema} if kind == "json_schema" else {})
    inner = object_of(known)(name, value).get("json_schema")
    if kind == "json_schema":
        if not inner or "schema" not in inner:
            raise wrong(f"{name}.json_schema", inner, 'an object with "schema"')
        return Wanted("json", inner["schema"], f"{name}.json_schema.schema")
    return Wanted("json", {"type": "object"}, name) if kind == "json_object" else None


def structured_outputs(name: str, value: Any) -> Wanted:
    """Check vLLM's field: one of its kinds."""
    found = object_of(KINDS)(name, value)
    if len(found) != 1 or found.get("json_object") is False:
        raise wrong(name, value, f"an object with one of {', '.join(KINDS)}")
    [(kind, source)] = found.items()
    where = f"{name}.{kind}"
    if kind == "json_object":
        return Wanted("json", {"type": "object"}, where)
    if kind == "choice":
        return Wanted("lark", "start: " + " | ".join(map(json.dumps, source)), where)
    return Wanted({"grammar": "lark"}.get(kind, kind), source, where)


def schema(name: str, value: Any) -> Any:
    """Check that a value may be a JSON schema; one may come as a string, as vLLM takes it."""
    if isinstance(value, str):
        try:
            value = json.loads(text(name, value))
        except (ValueError, RecursionError) as err:
            raise wrong(name, value, f"a JSON schema ({err})") from err
    if not isinstance(value, dict | bool):
        raise wrong(name, value, "a JSON schema: an object")
    if isinstance(value, dict) and "x-guidance" in value:
        raise wrong(f"{name}.x-guidance", value["x-guidance"], "no such keyword")
    return value


def choices(name: str, value: Any) -> list[str]:
    """Check a list of texts."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_CHOICES:
        raise wrong(name, value, f"a list of 1 to {MAX_CHOICES} texts")
    return [some_text(name, item) for item in value]


json_schema = object_of({"name": text, "description": text, "schema": schema, "strict": boolean})
KINDS = {"json": schema, "json_object": boolean, "regex": some_text, "choice": choices,
         "grammar": some_text}


def grammar_of(wanted: Wanted) -> str:
    """Return the grammar that `wanted` stands for.

    Raises:
        RequestError: it is none that can be followed, naming the place; or llguidance is missing.
    """
    try:
        source = wanted.source if isinstance(wanted.source, str) else json.dumps(wanted.source)
    except RecursionError as err:
        raise RequestError(f"{wanted.where} is nested too deeply.", param=wanted.where) from err
    if len(source) > MAX_SOURCE:
        raise RequestError(f"{wanted.where} has {len(source)} characters; expected at most "
                           f"{MAX_SOURCE}.", param=wanted.where)
    message = defect(wanted.kind, wanted.source)
    if message and isinstance(wanted.source, dict):
        wanted, message = deepest(wanted, message)
    if message:
        raise RequestError(f"{wanted.where} cannot be followed: {message}", param=wanted.where)
    return compiled(wanted.kind, wanted.source)


def deepest(wanted: Wanted, message: str) -> tuple[Wanted, str]:
    """Return the smallest part of a schema that has a defect of its own, and that defect.

    Only so many parts are tried: it is for a message, and a schema may have thousands.
    """
    source = wanted.source if isinstance(wanted.source, dict) else {}
    shared = {key: source[key] for key in DEFINITIONS if key in source}
    parts, tries = parts_of(wanted), 0
    while (part := next(parts, None)) is not None and tries < MAX_TRIES:
        tries += 1
        if found := defect("json", shared | part.source):
            wanted, message, parts = part, found, parts_of(part)
    return wanted, message


def parts_of(wanted: Wanted) -> Iterator[Wanted]:
    """Yield every schema directly within a schema; definitions first, as others refer to them."""
    for key in sorted(wanted.source, key=lambda key: key not in DEFINITIONS):
        value = wanted.source[key]
        if key in (*DEFINITIONS, "properties", "patternProperties"):
            inside = value.items() if isinstance(value, dict) else ()
        elif key in ("items", "additionalProperties", "not"):
            inside = [("", value)]
        elif key in ("anyOf", "allOf", "oneOf", "prefixItems"):
            inside = enumerate(value) if isinstance(value, list) else ()
        else:
            inside = ()
        for name, part in inside:
            if isinstance(part, dict):
                yield Wanted("json", part, f"{wanted.where}.{key}.{name}".rstrip("."))


def defect(kind: str, source: Any) -> str:
    """Return why no text can be made by a grammar, on one line, or ""."""
    try:
        bad, messages = library().LLMatcher.validate_grammar_with_warnings(
            compiled(kind, source), limits=parser_limits())
    except (ValueError, RecursionError) as err:
        return str(err)
    return " ".join(messages[0].split())[:300] if bad else ""


def compiled(kind: str, source: Any) -> str:
    """Return llguidance's own form of a grammar."""
    matcher = library().LLMatcher
    if kind == "json":
        return matcher.grammar_from_json_schema(
            json.dumps(source), overrides={"lenient": False, "whitespace_pattern": BLANKS})
    return (matcher.grammar_from_regex if kind == "regex" else matcher.grammar_from_lark)(source)


def parser_limits() -> Any:
    """Return how much work a grammar may make before it is given up."""
    return library().LLParserLimits(max_grammar_size=MAX_SYMBOLS, verbose_errors=False)


def library() -> Any:
    """Return llguidance, which only servers of structured output need."""
    try:
        import llguidance
    except ImportError as err:
        raise RequestError(f"Structured output is not offered here: "
                           f"{MissingExtraError('llguidance', 'structured')}",
                           param="response_format") from err
    return llguidance
