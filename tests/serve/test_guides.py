"""What follows a grammar parses and validates, by bytes or by tokens, whatever is drawn."""

import json
import random
import re

import jsonschema
import numpy as np
import pytest

from ssljax.core.errors import RequestError
from ssljax.serve import guides
from ssljax.serve.grammars import grammar_of, response_format, structured_outputs
from ssljax.serve.guides import make_guides
from ssljax.serve.jobs import Job, Sampling, Scored
from ssljax.serve.text import make_feed
from ssljax.tokenizers import bpe, byte

TEXTS = ['{"name": "Ada", "age": 36, "tags": ["x", "yz"]} ' * 3, "true false null 12.5e3 élan"]


@pytest.fixture(scope="module", params=["byte", "bpe"])
def tokenizer(request):
    return byte.make() if request.param == "byte" else bpe.from_json(
        bpe.train(TEXTS, vocab_size=330))


@pytest.fixture(scope="module")
def start(tokenizer):
    return make_guides(tokenizer)


def schema_grammar(schema):
    return grammar_of(response_format("response_format", {
        "type": "json_schema", "json_schema": {"name": "x", "schema": schema}}))


def allowed_ids(guide):
    bits = np.unpackbits(guide.allowed().view(np.uint8), bitorder="little")
    return np.flatnonzero(bits)


def write(start, tokenizer, grammar, chance, *, most=3000):
    """Return the bytes of a text whose tokens are drawn from what is allowed, or None if cut."""
    guide, ids = start(grammar), []
    closing = [token for token in range(tokenizer.vocab_size)
               if tokenizer.decode_bytes([token]) in (b'"', b"]", b"}", b",", b":")]
    while not guide.complete() and len(ids) < most:
        may = allowed_ids(guide)
        assert len(may) and may.max() < tokenizer.vocab_size
        if tokenizer.end_of_text in may and chance.random() < 0.5:
            break
        # A model that knows JSON closes what it opens; pure chance would go on for ever.
        short = sorted(set(may) & set(closing)) if chance.random() < 0.7 else []
        ids.append(int(chance.choice(short or [t for t in may if t != tokenizer.end_of_text])))
        guide.accept(ids[-1])
    ended = guide.complete() or tokenizer.end_of_text in allowed_ids(guide)
    return tokenizer.decode_bytes(ids) if ended else None


def random_schema(chance, depth=0):
    """Return a schema of the keywords that are enforced."""
    kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "pattern"]
    kind = chance.choice(kinds if depth > 2 else [*kinds, "object", "object", "array", "anyOf"])
    if kind == "object":
        names = chance.sample(["a", "name", "größe", "x y", 'q"', "7"], chance.randint(0, 4))
        return {"type": "object", "properties": {n: random_schema(chance, depth + 1)
                                                 for n in names},
                "required": chance.sample(names, chance.randint(0, len(names))),
                "additionalProperties": chance.choice([False, False, {"type": "integer"}])}
    if kind == "array":
        low = chance.randint(0, 2)
        return {"type": "array", "items": random_schema(chance, depth + 1), "minItems": low,
                "maxItems": low + chance.randint(0, 3)}
    if kind == "anyOf":
        return {"anyOf": [random_schema(chance, depth + 1) for _ in range(2)]}
    low = chance.randint(-50, 50)
    return {
        "string": {"type": "string", "minLength": chance.randint(0, 3), "maxLength": 12},
        "integer": {"type": "integer", "minimum": low, "maximum": low + chance.randint(0, 999)},
        "number": {"type": "number", "minimum": low, "exclusiveMaximum": low + 2.5},
        "enum": {"enum": chance.sample(["a", "ab", 3, -1.5, True, None, "ü\n"], 3)},
        "const": {"const": {"k": [1, "zwei"]}},
        "pattern": {"type": "string", "pattern": "^[a-c]{2,4}(-[0-9]+)?$"},
    }.get(kind, {"type": kind})


def check_schemas(start, tokenizer, numbers):
    whole = 0
    for number in numbers:
        chance = random.Random(number)
        schema = random_schema(chance)
        text = write(start, tokenizer, schema_grammar(schema), chance)
        if text is not None:
            whole += 1
            jsonschema.validate(json.loads(text.decode("utf-8")), schema)
    return whole


def test_random_texts_validate_against_random_schemas(start, tokenizer):
    assert check_schemas(start, tokenizer, range(60)) > 40


@pytest.mark.slow
def test_many_random_texts_validate_against_random_schemas(start, tokenizer):
    assert check_schemas(start, tokenizer, range(1000, 2500)) > 1000


def test_json_object_gives_objects(start, tokenizer):
    grammar = grammar_of(response_format("response_format", {"type": "json_object"}))
    texts = [write(start, tokenizer, grammar, random.Random(n)) for n in range(20)]
    assert all(isinstance(json.loads(text.decode()), dict) for text in texts if text)
    assert sum(text is not None for text in texts) > 5


@pytest.mark.parametrize("asked, holds", [
    ({"regex": "[a-f]{3}(é|[0-9]+)x"}, lambda text: re.fullmatch("[a-f]{3}(é|[0-9]+)x", text)),
    ({"choice": ["yes", 'n"o\\\n', "größer"]}, lambda text: text in ("yes", 'n"o\\\n', "größer")),
    ({"grammar": 'start: "(" start ")" | "x"'},
     lambda text: text == "(" * text.count("(") + "x" + ")" * text.count("(")),
    ({"json": '{"type": "integer", "minimum": 3}'}, lambda text: int(text) >= 3)])
def test_other_grammars_are_followed(start, tokenizer, asked, holds):
    grammar = grammar_of(structured_outputs("structured_outputs", asked))
    for number in range(10):
        text = write(start, tokenizer, grammar, random.Random(number))
        assert text is None or holds(text.decode())


def test_guides_of_one_grammar_do_not_share_their_place(start, tokenizer):
    grammar = schema_grammar({"enum": ["ab", "cd"]})
    first, second = start(grammar), start(grammar)
    for token in tokenizer.encode('"')[:1] + tokenizer.encode("a")[:1]:
        first.accept(token)
    assert list(allowed_ids(second)) == list(allowed_ids(start(grammar)))
    assert list(allowed_ids(first)) != list(allowed_ids(second))


def test_forced_tokens_are_the_only_ones(start, tokenizer):
    guide = start(schema_grammar({"const": "abc"}))
    forced = guide.forced()
    assert tokenizer.decode_bytes(forced).startswith(b'"')
    for token in forced:
        assert token in allowed_ids(guide)
        guide.accept(token)


def test_a_text_ends_with_its_grammar(start, tokenizer):
    job = Job((0,), "", 99, Sampling())
    feed = make_feed(job, tokenizer, start(schema_grammar({"const": "abc"})))
    pieces = [feed(Scored(token, -1.0, ())) for token in tokenizer.encode('"abc"')]
    assert [piece.finish for piece in pieces] == [None] * (len(pieces) - 1) + ["stop"]
    assert "".join(piece.text for piece in pieces) == '"abc"'


SCHEMA = "response_format.json_schema.schema"
BAD = [
    ({"type": "foo"}, SCHEMA, "Invalid type: foo"),
    ({"properties": {"a": {"items": {"not": {}}}}}, f"{SCHEMA}.properties.a.items", '"not"'),
    ({"anyOf": [{"type": "null"}, {"minimum": "x"}]}, f"{SCHEMA}.anyOf.1", "minimum"),
    ({"$ref": "#/$defs/p", "$defs": {"p": {"uniqueItems": True}}}, f"{SCHEMA}.$defs.p", "unique"),
    ({"properties": {"a": {"$ref": "https://example.org/x"}}}, f"{SCHEMA}.properties.a", "fetch"),
    ({"type": "string", "pattern": "["}, SCHEMA, "unclosed"),
    ({"minimum": 3, "maximum": 2, "type": "integer"}, SCHEMA, "greater than maximum"),
    ({"x-guidance": {"lenient": True}}, f"{SCHEMA}.x-guidance", "no such keyword"),
    ({"description": "x" * 40000}, SCHEMA, "at most 32768"), (3, SCHEMA, "a JSON schema")]


@pytest.mark.parametrize("schema, where, message", BAD)
def test_a_schema_that_cannot_be_enforced_is_refused_by_its_place(schema, where, message):
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        schema_grammar(schema)
    assert (caught.value.param, caught.value.status) == (where, 400) and where in str(caught.value)


def test_a_grammar_of_nothing_is_refused_at_the_start(start):
    with pytest.raises(RequestError, match="cannot be followed") as caught:
        start(schema_grammar({"$ref": "#"}))
    assert caught.value.status == 400


def test_a_grammar_that_grows_too_complex_is_the_requests_fault(tokenizer, monkeypatch):
    tight = guides.parser_limits().__class__(max_items_in_row=40, verbose_errors=False)
    monkeypatch.setattr(guides, "parser_limits", lambda: tight)
    guide = make_guides(tokenizer)(grammar_of(structured_outputs(
        "structured_outputs", {"grammar": 'start: start start | "a"'})))
    with pytest.raises(RequestError, match="cannot be followed") as caught:
        for _ in range(200):
            guide.allowed()
            guide.accept(tokenizer.encode("a")[0])
    assert caught.value.status == 400
