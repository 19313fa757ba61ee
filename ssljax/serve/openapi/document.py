"""The paths of the server, and the whole document."""

from typing import Any

from ssljax import __version__
from ssljax.serve.openapi.schemas import SCHEMAS, Schema, ref, text

Operation = dict[str, Any]

KEY = [{"key": []}]
OCTETS = "application/octet-stream"
EVENTS = "text/event-stream"


def operation(name: str, about: str, answer: Schema | None, *, body: Schema | None = None,
              events: bool = False, kind: str = "application/json", key: bool = True,
              error: str = "Error", parameters: tuple[Schema, ...] = (),
              unready: str = "") -> Operation:
    """Return one method of one path.

    Args:
        name: operationId.
        about: what it does.
        answer: schema of what 200 has; None where it is no JSON.
        body: schema of the request's.
        events: whether 200 may be server-sent events instead.
        kind: media type of 200.
        key: whether the server's key, if it has one, is wanted.
        error: schema of what every refusal has.
        parameters: of the path.
        unready: schema of what 503 has, where that is not an error.
    """
    content = {kind: {"schema": answer} if answer else {}}
    if events:
        content[EVENTS] = {"schema": text()}
    refusal = {"content": {"application/json": {"schema": ref(error)}}}
    responses = {"200": {"description": "The answer.", "content": content},
                 **{code: {"description": why, **refusal} for code, why in (
                     ("4XX", "The request cannot be answered as asked."),
                     ("503", "Not now; Retry-After says when."))}}
    if unready:
        responses["503"] = {"description": "No.", "content": {
            "application/json": {"schema": ref(unready)}}}
    return {"operationId": name, "summary": about, "responses": responses,
            **({"security": KEY} if key else {"security": []}),
            **({"parameters": list(parameters)} if parameters else {}),
            **({"requestBody": {"required": True, "content": {
                "application/json": {"schema": body}}}} if body else {})}


def in_path(name: str, about: str) -> Schema:
    """Return a parameter of a path."""
    return {"name": name, "in": "path", "required": True, "description": about, "schema": text()}


def posted(name: str, about: str, body: str, answer: str, *, events: bool = False) -> Operation:
    """Return the operation of a POST of one schema that is answered by another."""
    return operation(name, about, ref(answer), body=ref(body), events=events)


def protocol(version: bool) -> dict[str, dict[str, Operation]]:
    """Return the paths of KServe's protocol that name a model, with or without a version."""
    base = "/v2/models/{name}" + ("/versions/{version}" if version else "")
    end = "Version" if version else ""
    parameters = (in_path("name", "Of the model."),
                  *([in_path("version", "Of the model.")] if version else []))

    def of(name: str, about: str, answer: str, body: str = "", **more: Any) -> Operation:
        return operation(name + end, about, ref(answer) if answer else None,
                         body=ref(body) if body else None, error="ProtocolError",
                         parameters=parameters, **more)

    infer = of("infer", "One inference: tensors to tensors.", "InferResponse", "InferRequest")
    infer["responses"]["200"]["content"][OCTETS] = {}        # the binary extension
    return {
        base: {"get": of("modelMetadata", "What a model reads and gives.", "ModelMetadata")},
        f"{base}/ready": {"get": of("modelReady", "Whether a model answers.", "Anything")},
        f"{base}/infer": {"post": infer},
        f"{base}/generate": {"post": of("generate", "Text to text.", "GenerateResponse",
                                        "GenerateRequest")},
        f"{base}/generate_stream": {"post": of("generateStream", "Text to text, by events.", "",
                                               "GenerateRequest", kind=EVENTS)},
    }


def health(name: str, about: str) -> dict[str, Operation]:
    """Return the path of a probe."""
    return {"get": operation(name, about, ref("Status"), key=False, unready="Status")}


PATHS: dict[str, dict[str, Operation]] = {
    "/v1/completions": {"post": posted("complete", "Continue prompts.", "CompletionRequest",
                                       "Completion", events=True)},
    "/v1/chat/completions": {"post": posted("chat", "Answer messages.", "ChatRequest", "Chat",
                                            events=True)},
    "/v1/embeddings": {"post": posted("embed", "A vector for each input.", "EmbeddingRequest",
                                      "Embeddings")},
    "/classify": {"post": posted("classify", "Labels and probabilities of each input.",
                                 "ClassifyRequest", "Classes")},
    "/v1/classify": {"post": posted("classifyV1", "The same.", "ClassifyRequest", "Classes")},
    "/tokenize": {"post": posted("tokenize", "Text to token ids.", "TokenizeRequest", "Tokens")},
    "/detokenize": {"post": posted("detokenize", "Token ids to text.", "DetokenizeRequest",
                                   "Text")},
    "/v1/models": {"get": operation("models", "What is served.", ref("Models"))},
    "/v1/models/{name}": {"get": operation("model", "One model.", ref("Model"),
                                           parameters=(in_path("name", "Of the model."),))},
    "/healthz": health("healthz", "Whether every engine lives."),
    "/health": health("health", "The same."),
    "/ready": health("ready", "Whether requests are welcome."),
    "/metrics": {"get": operation("metrics", "Figures for Prometheus.", None, kind="text/plain")},
    "/openapi.json": {"get": operation("openapi", "This document.", ref("Anything"))},
    "/": {"get": operation("page", "A page for a browser.", None, kind="text/html")},
    "/v2": {"get": operation("serverMetadata", "What the server is.", ref("ServerMetadata"))},
    "/v2/health/live": {"get": operation("live", "Whether the server lives.", ref("Anything"),
                                         key=False, unready="Anything")},
    "/v2/health/ready": {"get": operation("serverReady", "Whether requests are welcome.",
                                          ref("Anything"), key=False, unready="Anything")},
    **protocol(version=False), **protocol(version=True),
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "ssljax", "version": __version__,
                 "description": "Models of artefacts that `ssljax export` wrote."},
        "paths": PATHS,
        "components": {"schemas": SCHEMAS, "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer"}}},
    }
