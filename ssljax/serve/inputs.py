"""What a request gives to encode, as examples for the model: texts, ids, files, pixels.

What the model reads is its manifest's to say: a tokenizer, or under "preprocessing" the operations
that prepare each medium by name ("image" now; audio and video are declared the same way). A medium
comes as base64, as a data: URI, as nested lists of 8-bit values, as {"image": any of these}, or as
OpenAI's content part {"type": "image_url", "image_url": {"url": ...}}. Other URLs are refused
unless the server was told to fetch them.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ssljax.core.errors import ConfigError, DataError, RequestError
from ssljax.core.tokenizer import Tokenizer
from ssljax.media.operations import Operation, prepare
from ssljax.serve.artefact import Artefact
from ssljax.serve.checks import show, text

MOST_INPUTS = 2048                 # of one request, as OpenAI's
MEDIA_BODY = 32 << 20              # bytes of a request to a server with a model that reads media
FETCH_SECONDS = 30.0               # for all URLs of a request
PIECE = 1 << 20                    # characters of base64 that are decoded at once; a multiple of 4

Fetch = Callable[[str], Awaitable[bytes]]          # (URL) -> what is there, or a RequestError


async def refuse_urls(url: str) -> bytes:
    """Refuse to fetch.

    Raises:
        RequestError: always (400).
    """
    raise RequestError(f"input names the URL {show(url)}; this server fetches none. Send the data "
                       "itself, as base64 or a data: URI, or start it with --fetch-urls.",
                       param="input", code="url_not_allowed")


def split_inputs(value: Any, *, reads_text: bool) -> list[Any]:
    """Return the inputs in a field that holds one or several.

    Raises:
        RequestError: none, or too many.
    """
    if not isinstance(value, list) or is_one(value, reads_text=reads_text):
        return [value]
    if not 1 <= len(value) <= MOST_INPUTS:
        raise RequestError(f"input has {len(value)} items; expected 1 to {MOST_INPUTS}.",
                           param="input")
    return value


def is_one(value: list[Any], *, reads_text: bool) -> bool:
    """Say whether a list is one input: ids of one text, or the rows of one picture.

    A picture is three lists deep; several of them are four.
    """
    if reads_text:
        return bool(value) and all(type(item) is int for item in value)
    inner = value
    for _ in range(2):
        inner = inner[0] if isinstance(inner, list) and inner else None
    return isinstance(inner, list) and bool(inner) and not isinstance(inner[0], list)


def read_text(value: Any, tokenizer: Tokenizer) -> np.ndarray:
    """Return the ids of a text, int32 [L] with L at least 1.

    Raises:
        RequestError: it is neither text nor ids of this model, or empty.
    """
    if isinstance(value, str):
        if not value:
            raise RequestError("input holds an empty string; there is nothing to encode.",
                               param="input")
        return np.asarray(tokenizer.encode(text("input", value)), np.int32)
    if not isinstance(value, list) or not value or any(type(i) is not int for i in value):
        raise RequestError(f"input holds {show(value)}; expected a string, token ids, or a list "
                           "of either.", param="input")
    bad = [i for i in value if not 0 <= i < tokenizer.vocab_size]
    if bad:
        raise RequestError(f"input holds the token id {show(bad[0])}; the model has ids 0 to "
                           f"{tokenizer.vocab_size - 1}.", param="input")
    return np.asarray(value, np.int32)


def is_url(value: Any) -> bool:
    """Say whether an input names something elsewhere."""
    return isinstance(value, str) and value[:8].lower().startswith(("http://", "https://"))


async def fetched(values: Sequence[Any], fetch: Fetch, *, most: int = MEDIA_BODY,
                  seconds: float = FETCH_SECONDS) -> list[Any]:
    """Return a request's inputs, with what is there in the place of each URL.

    One after another: no more is held than `most`, and what one fetch may bring.

    Args:
        values: from `unwrapped`.
        fetch: gets what a URL names, or refuses.
        most: bytes that the URLs may lead to together.
        seconds: that they may take together.

    Raises:
        RequestError: they lead to more (413), or take longer; or `fetch` has refused one.
    """
    found, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            for value in values:
                if is_url(value):
                    value = await fetch(value)
                    size += len(value)
                if size > most:
                    raise RequestError(f"The URLs in input lead to more than {most} bytes, the "
                                       "most that is read for one request.", status=413,
                                       param="input")
                found.append(value)
    except TimeoutError as err:
        raise RequestError(f"The URLs in input take more than {seconds:g} seconds together.",
                           param="input", code="url_not_fetched") from err
    return found


def medium_of(value: Any, names: Sequence[str]) -> bytes | np.ndarray:
    """Return the file that an input spells, or its 8-bit values as an array; call it in a thread.

    Args:
        value: from `unwrapped`, or the bytes of a file.
        names: of the media that the model reads.

    Raises:
        RequestError: it is none of the spellings.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, list):
        return pixels_of(value)
    if not isinstance(value, str):
        raise RequestError(f"input holds {show(value)}; expected {' or '.join(names)} as base64, "
                           "a data: URI or nested lists of values from 0 to 255.", param="input")
    if value[:5].lower() == "data:":
        head, _, value = value.partition(",")
        if not head.lower().endswith(";base64"):
            raise RequestError(f"input has a data: URI that begins {show(head)}; expected "
                               "data:TYPE;base64,DATA.", param="input")
    try:
        # In pieces: other threads run between two calls, and not during one.
        return b"".join(base64.b64decode(value[at:at + PIECE], validate=True)
                        for at in range(0, len(value), PIECE))
    except (binascii.Error, ValueError) as err:
        raise RequestError(f"input is no base64 ({err}): it begins {show(value[:20])}.",
                           param="input") from err


def unwrapped(value: Any, names: Sequence[str]) -> Any:
    """Return what an object spells: {"image": x}, or a content part of OpenAI's chat."""
    if not isinstance(value, dict):
        return value
    known = {name for name in names if name in value}
    if known:
        return value[known.pop()] if len(value) == 1 else None
    kind = value.get("type")
    inner = value.get(kind) if isinstance(kind, str) else None
    if kind == "image_url":
        return inner.get("url") if isinstance(inner, dict) else inner
    if kind == "input_audio" and isinstance(inner, dict):
        return inner.get("data")
    return None


def pixels_of(value: list[Any]) -> np.ndarray:
    """Return nested lists of values from 0 to 255 as uint8.

    Raises:
        RequestError: they are ragged, or hold something else.
    """
    try:
        array = np.array(value)
    except (ValueError, OverflowError, RecursionError) as err:
        raise RequestError(f"input holds lists of unequal lengths ({err}).", param="input") from err
    if array.dtype.kind not in "iu" or array.size == 0 or array.min() < 0 or array.max() > 255:
        raise RequestError("input holds lists of something else than whole numbers from 0 to 255.",
                           param="input")
    return array.astype(np.uint8)


def prepared(value: bytes | np.ndarray, operations: Sequence[Operation]) -> np.ndarray:
    """Return a medium as the model reads it; takes CPU time, so call it in a thread.

    Raises:
        RequestError: it cannot be decoded, or has another shape.
    """
    try:
        return prepare(value, operations)
    except (ConfigError, DataError) as err:          # UnreadableRecordError among them
        raise RequestError(f"input cannot be read: {err}", param="input",
                           code="unreadable_input") from err


def tokens_of(artefact: Artefact, examples: Sequence[np.ndarray]) -> int:
    """Return the tokens of a request's examples, each with its start token; 0 of other media."""
    return sum(len(example) + 1 for example in examples) if artefact.tokenizer else 0


def media_of(artefact: Artefact) -> Mapping[str, Sequence[Operation]]:
    """Return the operations of each medium that the model reads; empty for a model of text."""
    return {} if artefact.tokenizer else artefact.manifest.get("preprocessing", {})
