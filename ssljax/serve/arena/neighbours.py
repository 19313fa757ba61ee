"""Rows of a data set that a model finds most like an image or a text: by the cosine of vectors.

The first rows of the data set are embedded once for each model, by requests like anybody's, and
kept in this process. All of them are compared: a few hundred vectors need no index.
"""

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from starlette.concurrency import run_in_threadpool

from ssljax.core.errors import RequestError
from ssljax.serve.arena.contestants import Contestant, ask
from ssljax.serve.arena.viewer import Dataset, Example, passages

MOST_ROWS = 256                  # of images: about 12 CPU-seconds of a ViT-S, once
MOST_TEXTS = 128                 # about 30 CPU-seconds of a GPT-2 small, once
AT_ONCE = 16                     # rows of a request
KEPT = 16                        # indices in memory
SHOWN = 8


class Index(NamedTuple):
    """Embedded rows: images or texts, and their vectors at length 1, float32 [n, D]."""

    rows: Sequence[Example]
    vectors: np.ndarray


# (contestant, data set, authorization) -> its index
Find = Callable[[Contestant, Dataset, str], Awaitable[Index]]


def open_indices() -> Find:
    """Return the function that finds an index, or makes it once however many wait for it."""
    made: OrderedDict[tuple[str, str, str], asyncio.Task[Index]] = OrderedDict()

    async def find(one: Contestant, dataset: Dataset, authorization: str) -> Index:
        key = (one.name, one.fingerprint, str(dataset.about.get("path", dataset.name)))
        if key not in made:
            made[key] = asyncio.create_task(make_index(one, dataset, authorization))
            while len(made) > KEPT:
                made.popitem(last=False)
        made.move_to_end(key)
        try:
            return await asyncio.shield(made[key])   # a caller who leaves does not stop the others
        except Exception:
            made.pop(key, None)                      # the next one may be luckier
            raise

    return find


async def make_index(one: Contestant, dataset: Dataset, authorization: str) -> Index:
    """Embed the first rows of a data set.

    Raises:
        RequestError: the model refuses one of them.
    """
    rows = await run_in_threadpool(first_rows, dataset)
    parts = [await embed(one, [row.data for row in rows[at:at + AT_ONCE]], authorization)
             for at in range(0, len(rows), AT_ONCE)]
    return Index(rows, np.concatenate(parts) if parts else np.zeros((0, 1), np.float32))


def first_rows(dataset: Dataset) -> list[Example]:
    """Return the rows that are compared: images, or texts of a data set without."""
    return dataset.pictures(MOST_ROWS) if dataset.images else passages(dataset, MOST_TEXTS)


async def embed(one: Contestant, inputs: Sequence[bytes | str], authorization: str) -> np.ndarray:
    """Return the vectors of image files or texts at length 1, float32 [n, D].

    Raises:
        RequestError: with the words of the server, if it refuses.
    """
    body = {"model": one.model, "input": [spelt(each) for each in inputs],
            "encoding_format": "base64"}
    status, found = await ask(one.endpoint, "POST", "/v1/embeddings", body, authorization)
    if status != 200:
        raise refused(status, found)
    try:
        rows = sorted(found["data"], key=lambda row: row["index"])
        vectors = np.stack([numbers(row["embedding"]) for row in rows])
    except (KeyError, TypeError, ValueError) as err:
        raise RequestError(f"The server's vectors cannot be read ({err}).", status=502) from err
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def spelt(given: bytes | str) -> str:
    """Return a text, or a file as a data: URL; what kind of image it is, its first bytes say."""
    if isinstance(given, str):
        return given
    return "data:application/octet-stream;base64," + base64.b64encode(given).decode()


def numbers(embedding: Any) -> np.ndarray:
    """Return a vector that came as base64, or as the list that other servers send anyway."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), "<f4")
    return np.asarray(embedding, np.float32)


def refused(status: int, found: Mapping[str, Any]) -> RequestError:
    """Return the error of a server's refusal, in its words."""
    error = found.get("error")
    words = error.get("message") if isinstance(error, dict) else None
    return RequestError(str(words or f"The server answered {status}.")[:500], status=502)


def nearest(index: Index, vector: np.ndarray, count: int = SHOWN) -> list[tuple[Example, float]]:
    """Return the most similar rows, the first first, with their cosines; equals in row order."""
    cosines = index.vectors @ vector
    return [(index.rows[i], float(cosines[i]))
            for i in np.argsort(-cosines, kind="stable")[:count]]
