"""JSON schemas of what requests and answers hold, in the dialect of OpenAPI 3.1 (2020-12).

https://spec.openapis.org/oas/v3.1.1. A body's properties are the fields that its route reads, no
more: the tests hold them against the tables of checks.
"""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]


def text(about: str = "", **more: Any) -> Schema:
    """Return the schema of a string."""
    return described({"type": "string", **more}, about)


def whole(low: int | None = None, high: int | None = None, about: str = "") -> Schema:
    """Return the schema of a whole number."""
    return described(bounded("integer", low, high), about)


def number(low: float | None = None, high: float | None = None, about: str = "") -> Schema:
    """Return the schema of a number."""
    return described(bounded("number", low, high), about)


def truth(about: str = "") -> Schema:
    """Return the schema of true or false."""
    return described({"type": "boolean"}, about)


def several(item: Schema, low: int | None = None, high: int | None = None,
            about: str = "") -> Schema:
    """Return the schema of a list."""
    sizes = {name: n for name, n in (("minItems", low), ("maxItems", high)) if n is not None}
    return described({"type": "array", "items": item, **sizes}, about)


def fields(properties: Mapping[str, Schema], *required: str, more: bool | Schema = False,
           about: str = "") -> Schema:
    """Return the schema of an object."""
    return described({"type": "object", "properties": dict(properties),
                      **({"required": list(required)} if required else {}),
                      "additionalProperties": more}, about)


def answer(properties: Mapping[str, Schema], about: str = "") -> Schema:
    """Return the schema of an object of ours: what is named is there, and more may come."""
    return fields(properties, *properties, more=True, about=about)


def either(*schemas: Schema, about: str = "") -> Schema:
    """Return the schema of one of several."""
    return described({"anyOf": list(schemas)}, about)


def nullable(schema: Schema) -> Schema:
    """Return a schema that null fits as well."""
    return either(schema, {"type": "null"})


def ref(name: str) -> Schema:
    """Return a reference to one of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def bounded(kind: str, low: float | None, high: float | None) -> Schema:
    """Return the schema of a number within bounds."""
    bounds = {name: n for name, n in (("minimum", low), ("maximum", high)) if n is not None}
    return {"type": kind, **bounds}


def described(schema: Schema, about: str) -> Schema:
    """Return a schema with its description, if there is one."""
    return {**schema, "description": about} if about else schema


ID = whole(0, about="A token id.")
MODEL = text("A name from /v1/models, or name@version; the only model unless told.")

# What requests for text share: the fields of ssljax/serve/fields.py.
SHARED: dict[str, Schema] = {
    "model": MODEL,
    "user": text("Who asks on behalf of the key's holder; nothing is done with it."),
    "n": whole(1, about="Answers to each prompt."),
    "stop": either(text(minLength=1), several(text(minLength=1), high=4),
                   about="Strings that end the text and are not part of it."),
    "stop_token_ids": either(ID, several(ID), about="Tokens that end the text."),
    "ignore_eos": truth("Whether the end token ends nothing."),
    "seed": whole(-(2**63), 2**63 - 1,
                  "The same seed and request give the same bits, at any load."),
    "temperature": number(0, 2, "0 takes the most probable token."),
    "top_k": whole(0, 2**31 - 1, "Only the k most probable tokens; 0 for all."),
    "top_p": number(0, 1, "Only the most probable tokens of this mass."),
    "min_p": number(0, 1, "Only tokens with this share of the best one's probability."),
    "presence_penalty": number(-2, 2), "frequency_penalty": number(-2, 2),
    "repetition_penalty": number(0.1, 10),
    "logit_bias": {"type": "object", "additionalProperties": number(-100, 100),
                   "propertyNames": {"pattern": "^[0-9]+$"},
                   "description": "Token id to what is added to its logit."},
    "response_format": {"type": "object", "description":
                        'OpenAI\'s: {"type": "text" | "json_object" | "json_schema", ...}.'},
    "structured_outputs": {"type": "object", "description":
                           'vLLM\'s: one of "json", "regex", "choice", "grammar".'},
    "max_wait": number(0, 86400, "Seconds after which a request that still waits is given up."),
    "stream": truth("Whether the answer comes as server-sent events."),
    "stream_options": fields({"include_usage": truth()}),
}

USAGE = answer({"prompt_tokens": whole(0), "total_tokens": whole(0)})
LOGPROB = answer({"token": text(), "logprob": number(), "bytes": several(whole(0, 255))})
FINISH = nullable(text(enum=["stop", "length"]))

MEDIUM = either(
    text("Base64 of a file, or a data: URI."), several({}, about="Nested lists of 8-bit values."),
    {"type": "object", "description": '{"image": any of these}, or OpenAI\'s content part.'})
INPUT = either(
    text("A text, or a file as base64 or data: URI.", minLength=1),
    several(either(text(minLength=1), ID, several({}), {"type": "object"}), 1, 2048),
    {"type": "object"},
    about="One or several: texts or token ids for a model of text, files or pixels for one of "
          "images.")

ENCODE = {"model": MODEL, "input": INPUT, "user": text(), "max_wait": SHARED["max_wait"]}

MESSAGE = fields({
    "role": text(enum=["system", "developer", "user", "assistant"]),
    "content": either(text(), several(fields({"type": text(enum=["text"]), "text": text()},
                                             "type", "text"), 1)),
    "name": text()}, "role", "content")

SCHEMAS: dict[str, Schema] = {
    "Error": answer({"error": answer({"message": text(), "type": text(),
                                      "param": nullable(text()), "code": nullable(text())})}),
    "ProtocolError": answer({"error": either(text(), {"type": "object"})}),
    "CompletionRequest": fields({
        **SHARED,
        "prompt": either(text(), several(ID, 1), several(either(text(), several(ID)), 1),
                         about="Text, token ids, or a list of either."),
        "max_tokens": whole(0), "logprobs": whole(0, 20), "echo": truth(),
        "best_of": whole(1, 1), "suffix": text(enum=[""])}),
    "Completion": answer({
        "id": text(), "object": text(enum=["text_completion"]), "created": whole(),
        "model": text(), "system_fingerprint": text(), "usage": USAGE,
        "choices": several(answer({"index": whole(0), "text": text(), "finish_reason": FINISH,
                                   "logprobs": nullable({"type": "object"})}))}),
    "ChatRequest": fields({
        **SHARED, "messages": several(MESSAGE, 1, 1024), "max_tokens": whole(1),
        "max_completion_tokens": whole(1), "logprobs": truth(), "top_logprobs": whole(0, 20),
        "metadata": {"type": "object", "additionalProperties": text()},
        "store": {"type": "boolean", "enum": [False]},
        "tools": several({"type": "object"}, high=0), "tool_choice": text(enum=["none"]),
        "parallel_tool_calls": truth(), "functions": several({"type": "object"}, high=0),
        "function_call": text(enum=["none"]),
        "modalities": several(text(enum=["text"]), 1, 1),
        "service_tier": text(enum=["auto", "default"]), "safety_identifier": text(),
        "prompt_cache_key": text()}, "messages"),
    "Chat": answer({
        "id": text(), "object": text(enum=["chat.completion"]), "created": whole(),
        "model": text(), "system_fingerprint": text(), "usage": USAGE,
        "choices": several(answer({
            "index": whole(0), "finish_reason": FINISH,
            "message": answer({"role": text(enum=["assistant"]), "content": text()}),
            "logprobs": nullable(answer({"content": several(LOGPROB)}))}))}),
    "EmbeddingRequest": fields({
        **ENCODE, "dimensions": whole(1, about="Only those the model was trained for."),
        "encoding_format": text(enum=["float", "base64"])}, "input"),
    "Embeddings": answer({
        "object": text(enum=["list"]), "model": text(), "usage": USAGE,
        "data": several(answer({"object": text(enum=["embedding"]), "index": whole(0),
                                "embedding": either(several(number()), text())}))}),
    "ClassifyRequest": fields({
        **ENCODE, "top": whole(1, about="Only so many classes, the most probable first.")},
        "input"),
    "Classes": answer({
        "id": text(), "object": text(enum=["list"]), "model": text(),
        "data": several(answer({"index": whole(0), "label": text(), "num_classes": whole(1),
                                "probs": several(number(0, 1)), "labels": several(text())}))}),
    "TokenizeRequest": fields({"model": MODEL, "prompt": text(), "return_token_strs": truth()}),
    "Tokens": answer({"count": whole(0), "max_model_len": whole(0), "tokens": several(ID)}),
    "DetokenizeRequest": fields({"model": MODEL, "tokens": several(ID)}),
    "Text": answer({"prompt": text()}),
    "Model": answer({"id": text(), "object": text(enum=["model"]), "created": whole(),
                     "owned_by": text(), "parent": nullable(text("Of an adapter: its base."))}),
    "Models": answer({"object": text(enum=["list"]), "data": several(ref("Model"))}),
    "Status": answer({"status": text()}),
    "Anything": {"type": "object", "additionalProperties": True},
    "ServerMetadata": answer({"name": text(), "version": text(), "extensions": several(text())}),
    "TensorMetadata": answer({"name": text(), "datatype": text(), "shape": several(whole(-1))}),
    "ModelMetadata": answer({"name": text(), "versions": several(text()), "platform": text(),
                             "inputs": several(ref("TensorMetadata")),
                             "outputs": several(ref("TensorMetadata"))}),
    "Tensor": fields({"name": text(), "datatype": text(), "shape": several(whole(0), high=8),
                      "data": several({}), "parameters": {"type": "object"}},
                     "name", "datatype", "shape", more=True),
    "InferRequest": fields({
        "id": text(), "parameters": {"type": "object"}, "inputs": several(ref("Tensor"), 1),
        "outputs": several(fields({"name": text(), "parameters": {"type": "object"}}, "name",
                                  more=True))}, "inputs"),
    "InferResponse": answer({"model_name": text(), "model_version": text(),
                             "outputs": several(ref("Tensor"))}),
    "GenerateRequest": fields({"id": text(), "text_input": text(),
                               "parameters": {"type": "object"}}, "text_input"),
    "GenerateResponse": answer({"model_name": text(), "model_version": text(),
                                "text_output": text()}),
}
