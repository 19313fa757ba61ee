"""Operations of the OpenAPI document from the little in which they differ."""

from typing import Any

from ssljax.serve.openapi.schemas import Schema, ref, text

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
