"""Who can be compared: the models of this server and of the endpoints it was started with.

Every endpoint is asked for its models by GET /v1/models, with the caller's own key where it is this
server: nobody is shown, or compares, a model that the key may not use.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpcore

from ssljax.core.errors import RequestError, ServeError
from ssljax.serve.arena.transports import Answer, BrokenAnswerError, Send, http_transport

LARGEST_ANSWER = 16 << 20        # bytes of an answer that is read whole
LISTING_SECONDS = 10.0           # that an endpoint has to list its models
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError,
            httpcore.UnsupportedProtocol, BrokenAnswerError, TimeoutError, RequestError)


class Endpoint(NamedTuple):
    """A server of models.

    name:  of its contestants; "" for this server, whose models keep their own names
    send:  asks it
    model: the one that is meant; "" for the first that it lists, or all of this server
    key:   what it is sent as a bearer token; "" forwards the caller's, which only this server gets
    """

    name: str
    send: Send
    model: str = ""
    key: str = ""


class Contestant(NamedTuple):
    """One model that can fill a pane.

    name:        shown, voted on and ranked
    endpoint:    where it is asked
    model:       what that calls it
    kind:        "decoder" writes text, "encoder" takes `reads`
    reads:       media that an encoder takes: "image", "audio", "video"
    fingerprint: of all that decides its numbers, where it says so; stored with every vote
    context:     tokens of prompt and answer together, where it says so
    """

    name: str
    endpoint: Endpoint
    model: str
    kind: str = "decoder"
    fingerprint: str = ""
    reads: tuple[str, ...] = ()
    context: int | None = None


def read_endpoint(text: str, *, key: str = "", allow_private: bool = False) -> Endpoint:
    """Return the endpoint that NAME=URL or NAME=URL#MODEL names.

    Args:
        text: such as gpt2=https://host:8000/v1#gpt2; a URL without a path means /v1.
        key: its API key.
        allow_private: whether it may be on loopback or in a private network.

    Raises:
        ServeError: the name or URL cannot be used.
    """
    name, _, url = text.partition("=")
    parts = urlsplit(url)
    if not NAME.fullmatch(name):
        raise ServeError(f"--endpoint {text}: expected NAME=URL, the name of letters, digits, dot, "
                         "dash and underscore.")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ServeError(f"--endpoint {text}: expected NAME=http(s)://HOST[:PORT][/v1][#MODEL].")
    if parts.username is not None or parts.query:
        raise ServeError(f"--endpoint {name}: a URL with a password or a query would end up in "
                         f"logs; pass a key with --endpoint-key {name}=VARIABLE.")
    path = parts.path.rstrip("/") or "/v1"
    base = f"{parts.scheme}://{parts.netloc}{path}"
    return Endpoint(name, http_transport(base, allow_private=allow_private), parts.fragment, key)


def headers_for(endpoint: Endpoint, authorization: str) -> dict[str, str]:
    """Return the headers of a request; the caller's key goes to this server and nowhere else."""
    own = f"Bearer {endpoint.key}" if endpoint.key else "" if endpoint.name else authorization
    return {"Content-Type": "application/json", "Accept": "text/event-stream, application/json",
            **({"Authorization": own} if own else {})}


async def find_contestants(endpoints: Sequence[Endpoint], authorization: str
                           ) -> tuple[list[Contestant], dict[str, str]]:
    """Return those that can be compared now, and endpoint -> why its models cannot."""
    listed = await asyncio.gather(*(models_of(one, authorization) for one in endpoints))
    found, silent = [], {}
    for endpoint, models in zip(endpoints, listed, strict=True):
        if isinstance(models, str):
            silent[endpoint.name or "this server"] = models
        else:
            found += models
    return found, silent


async def models_of(endpoint: Endpoint, authorization: str) -> list[Contestant] | str:
    """Return the contestants of one endpoint, or why there are none."""
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            status, body = await ask(endpoint, "GET", "/v1/models", None, authorization)
    except FAILURES as err:
        if endpoint.model:           # not every server lists its models; this one was named
            return [Contestant(endpoint.name, endpoint, endpoint.model)]
        return say(err)
    data = body.get("data") if status == 200 else None
    models = [m for m in data or () if isinstance(m, dict) and isinstance(m.get("id"), str)]
    if endpoint.name:
        model = endpoint.model or (models[0]["id"] if models else "")
        if not model:
            return f"/v1/models answered {status} and names no model; add #MODEL to its URL."
        about = next((m for m in models if m["id"] == model), {})
        return [contestant(endpoint.name, endpoint, {**about, "id": model})]
    return own_models(endpoint, models)


def own_models(endpoint: Endpoint, models: Sequence[Mapping[str, Any]]) -> list[Contestant]:
    """Return a contestant for each version of each model of this server.

    Of a model with several versions its plain name is left out: what answers to it may change from
    one request to the next.
    """
    several = {m["id"].rpartition("@")[0] for m in models}
    return [contestant(m["id"], endpoint, m) for m in models if m["id"] not in several]


def contestant(name: str, endpoint: Endpoint, about: Mapping[str, Any]) -> Contestant:
    """Return the contestant of a model object; servers that tell no kind have language models."""
    reads = about.get("inputs")
    media = tuple(str(m) for m in reads if m != "text") if isinstance(reads, list) else ()
    kind = "decoder" if about.get("kind", "decoder") == "decoder" else "encoder"
    length = about.get("max_model_len")
    return Contestant(name, endpoint, about["id"], kind, mark_of(about), media,
                      length if type(length) is int else None)


def mark_of(about: Mapping[str, Any]) -> str:
    """Return a model's fingerprint, "" where its server tells none."""
    return str(about.get("system_fingerprint") or about.get("fingerprint") or "")[:200]


async def ask(endpoint: Endpoint, method: str, path: str, body: Mapping[str, Any] | None,
              authorization: str) -> tuple[int, dict[str, Any]]:
    """Return status and JSON object of an answer that is not streamed, {} if it is none.

    Raises:
        FAILURES: there is no answer, or one that is too long.
    """
    data = b"" if body is None else json.dumps(body).encode()
    async with endpoint.send(method, path, data, headers_for(endpoint, authorization)) as answer:
        found = await read_whole(answer)
    with contextlib.suppress(ValueError, RecursionError):
        parsed = json.loads(found)
        if isinstance(parsed, dict):
            return answer.status, parsed
    return answer.status, {}


async def read_whole(answer: Answer) -> bytes:
    """Return the body of an answer.

    Raises:
        BrokenAnswerError: it is longer than anything that is asked for here.
    """
    data = bytearray()
    async for part in answer.parts:
        data += part
        if len(data) > LARGEST_ANSWER:
            raise BrokenAnswerError(f"The answer has more than {LARGEST_ANSWER} bytes.")
    return bytes(data)


def say(err: BaseException) -> str:
    """Return a failure as a sentence for a pane."""
    kinds = {"ConnectError": "cannot be connected to", "ConnectTimeout": "does not answer",
             "ReadTimeout": "fell silent", "TimeoutError": "took too long"}
    kind = kinds.get(type(err).__name__)
    return f"The endpoint {kind}. {err}".strip() if kind else str(err) or type(err).__name__
