"""The paths that answer for models, and the whole document."""

from collections.abc import Collection
from typing import Any

from ssljax import __version__
from ssljax.serve.openapi.build import EVENTS, OCTETS, Operation, in_path, operation, posted
from ssljax.serve.openapi.operations_paths import ADMIN, FILES
from ssljax.serve.openapi.schemas import SCHEMAS, ref


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
    "/v2": {"get": operation("serverMetadata", "What the server is.", ref("ServerMetadata"))},
    "/v2/health/live": {"get": operation("live", "Whether the server lives.", ref("Anything"),
                                         key=False, unready="Anything")},
    "/v2/health/ready": {"get": operation("serverReady", "Whether requests are welcome.",
                                          ref("Anything"), key=False, unready="Anything")},
    **protocol(version=False), **protocol(version=True), **FILES, **ADMIN,
}


def document(served: Collection[str]) -> dict[str, Any]:
    """Return the OpenAPI document of a server with the paths `served`."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "ssljax", "version": __version__,
                 "description": "Models of artefacts that `ssljax export` wrote."},
        "paths": {path: methods for path, methods in PATHS.items() if path in served},
        "components": {"schemas": SCHEMAS, "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer"}}},
    }
