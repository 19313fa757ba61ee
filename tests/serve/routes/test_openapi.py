"""The OpenAPI document has every route and field, answers fit it, odd requests break nothing."""

import base64
import contextlib
import pkgutil
import random
import re
from collections import Counter

import jsonschema
import pytest
from starlette.routing import Route

from ssljax.serve import chat, completions, routes
from ssljax.serve.app import ROUTES
from ssljax.serve.openapi.document import PATHS, document
from ssljax.serve.routes import classify, embeddings, generate, tokenize
from ssljax.serve.routes.openapi import paths_of

DOCUMENT = document(PATHS)
SAID = [{"role": "user", "content": "hi"}]


def schema(name):
    """Return a schema that can be used on its own."""
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


def test_every_route_is_in_the_document_and_nothing_else(site):
    served = {(path, method.lower()) for route in site.app.routes if isinstance(route, Route)
              for path in paths_of([route]) for method in route.methods - {"HEAD"}}
    told = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert served == told


def test_every_module_of_routes_is_served():
    found = {module.name for module in pkgutil.iter_modules(routes.__path__)}
    assert {module.__name__.rpartition(".")[2] for module in ROUTES} >= found - {"generate"}


@pytest.mark.parametrize(("name", "fields"), [
    ("CompletionRequest", completions.FIELDS), ("ChatRequest", chat.FIELDS),
    ("EmbeddingRequest", embeddings.FIELDS), ("ClassifyRequest", classify.FIELDS),
    ("TokenizeRequest", tokenize.ENCODE), ("DetokenizeRequest", tokenize.DECODE),
    ("GenerateRequest", generate.GENERATE)])
def test_a_body_has_the_fields_that_its_route_reads(name, fields):
    assert DOCUMENT["components"]["schemas"][name]["properties"].keys() == fields.keys()


def test_the_document_is_sound(site):
    assert site.client.get("/openapi.json").json() == DOCUMENT
    for each in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(each)
    names = [operation["operationId"] for methods in DOCUMENT["paths"].values()
             for operation in methods.values()]
    assert len(names) == len(set(names))
    for ref in re.findall(r"#/components/schemas/(\w+)", str(DOCUMENT)):
        assert ref in DOCUMENT["components"]["schemas"]


@pytest.mark.parametrize(("path", "body", "asked", "answered"), [
    ("/v1/completions", {"model": "tiny", "prompt": "a", "max_tokens": 2, "logprobs": 1},
     "CompletionRequest", "Completion"),
    ("/v1/chat/completions", {"model": "talker", "messages": SAID, "max_tokens": 2,
                              "logprobs": True}, "ChatRequest", "Chat"),
    ("/v1/embeddings", {"model": "tiny", "input": ["a", "b"]}, "EmbeddingRequest", "Embeddings"),
    ("/classify", {"model": "eyes", "input": "PNG"}, "ClassifyRequest", "Classes"),
    ("/tokenize", {"model": "tiny", "prompt": "a"}, "TokenizeRequest", "Tokens"),
    ("/detokenize", {"model": "tiny", "tokens": [65]}, "DetokenizeRequest", "Text"),
    ("/v2/models/tiny/infer", {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1],
                                           "data": ["a"]}]}, "InferRequest", "InferResponse"),
    ("/v2/models/tiny/generate", {"text_input": "a"}, "GenerateRequest", "GenerateResponse"),
    ("/v1/embeddings", {"model": "no", "input": "a"}, "EmbeddingRequest", "Error"),
    ("/v2/models/no/generate", {"text_input": "a"}, "GenerateRequest", "ProtocolError"),
])
def test_requests_and_answers_fit_their_schemas(site, png, path, body, asked, answered):
    body = body | ({"input": base64.b64encode(png).decode()} if body.get("input") == "PNG" else {})
    jsonschema.validate(body, schema(asked))
    answer = site.client.post(path, json=body)
    assert answer.status_code == (404 if "Error" in answered else 200), answer.text
    jsonschema.validate(answer.json(), schema(answered))


def fuzz(site, cases, seed):
    """Send odd requests, `cases` of each kind to each operation; return how many had each status.

    Raises whatever check fails: a 5xx, or an answer that does not fit the document.
    """
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis.errors import Unsatisfiable
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
    )

    checks = [content_type_conformance, response_schema_conformance]
    api, counts = schemathesis.openapi.from_url(f"{site.url}/openapi.json"), Counter()
    draw = random.Random(seed)

    def send(case):
        """Aim at a model that is there, more often than not."""
        model = draw.choice(["tiny", "talker", "eyes", None])
        if model and isinstance(case.body, dict) and not case.path.startswith(("/v2", "/admin")):
            case.body["model"] = model
        if model and "name" in (case.path_parameters or {}):
            case.path_parameters |= {"name": model, **(
                {"version": "1"} if "version" in case.path_parameters else {})}
        answer = case.call(timeout=60)
        counts[answer.status_code] += 1
        # Not now is an answer, to a max_wait of no time at all for one; a defect is none.
        assert answer.status_code < 500 or "retry-after" in answer.headers, answer.text
        case.validate_response(answer, checks=checks)

    for result in api.get_all_operations():
        for mode in schemathesis.GenerationMode:
            strategy = result.ok().as_strategy(generation_mode=mode)
            run = given(case=strategy)(lambda case: send(case))
            odd = settings(max_examples=cases, deadline=None, database=None,
                           phases=[Phase.generate], suppress_health_check=list(HealthCheck))
            with contextlib.suppress(Unsatisfiable):     # nothing about it could be wrong
                seeded(seed)(odd(run))()
    return counts


def test_a_few_odd_requests_break_nothing(site):
    counts = fuzz(site, 1, seed=0)
    assert counts[200] and counts[400] and sum(counts.values()) > 40


@pytest.mark.slow
def test_thousands_of_odd_requests_break_nothing(site, ask):
    counts = fuzz(site, 150, seed=1)
    assert sum(counts.values()) > 3000 and counts[200] > 100
    assert ask("/v1/completions", {"model": "tiny", "prompt": "a"})["choices"]
