"""What models make of an image or a text, side by side: classes, neighbours, where they differ.

POST /arena/images?models=A%0AB&data=0    the body is an image file
POST /arena/texts?models=A%0AB&data=0     the body is a text
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.core.errors import RequestError
from ssljax.serve.arena.asking import MOST_PANES
from ssljax.serve.arena.contestants import (
    FAILURES,
    Contestant,
    ask,
    find_contestants,
    say,
)
from ssljax.serve.arena.neighbours import Find, embed, nearest, open_indices, spelt
from ssljax.serve.arena.row_routes import whole
from ssljax.serve.arena.state import Arena, guarded
from ssljax.serve.arena.viewer import Dataset
from ssljax.serve.http import read_body

LARGEST_FILE, LARGEST_TEXT = 10 << 20, 64 << 10          # bytes
EXCERPT = 300                    # characters of a neighbour that are shown
CLASSES = 5

Pane = dict[str, Any]


def routes(arena: Arena) -> list[BaseRoute]:
    """Return the routes of images and texts."""
    find = open_indices()

    async def compared(request: Request, authorization: str, given: bytes | str) -> Response:
        number, pictures = request.query_params.get("data", ""), isinstance(given, bytes)
        dataset = None if arena.keyless or not number else chosen(arena, number, pictures=pictures)
        contestants, _ = await find_contestants(arena.endpoints, authorization)
        wanted = readers(contestants, request.query_params.get("models", "").split("\n"),
                         pictures=pictures)
        panes = await asyncio.gather(*(look(one, given, dataset, find, authorization)
                                       for one in wanted))
        return JSONResponse(compare(panes) | {"data": number})

    async def images(request: Request, authorization: str) -> Response:
        return await compared(request, authorization, await read_body(request, LARGEST_FILE))

    async def texts(request: Request, authorization: str) -> Response:
        data = await read_body(request, LARGEST_TEXT)
        try:
            text = data.decode()
        except UnicodeDecodeError as err:
            raise RequestError(f"The text is not UTF-8: {err}.") from err
        return await compared(request, authorization, text)

    return [Route("/arena/images", guarded(arena, images), methods=["POST"]),
            Route("/arena/texts", guarded(arena, texts), methods=["POST"])]


def chosen(arena: Arena, number: str, *, pictures: bool) -> Dataset:
    """Return the data set that neighbours are looked for in.

    Raises:
        RequestError: there is none of that number, or it is of another kind.
    """
    at, kind = whole(number, "data", 10**6), "images" if pictures else "texts"
    if at >= len(arena.datasets) or bool(arena.datasets[at].images) != pictures:
        raise RequestError(f"Data set {at} is not there, or has no {kind}.", status=404)
    return arena.datasets[at]


def readers(contestants: Sequence[Contestant], names: Sequence[str], *,
            pictures: bool) -> list[Contestant]:
    """Return the models of some names, which read images or else texts.

    Raises:
        RequestError: one is not there, or they are too many.
    """
    known = {one.name: one for one in contestants if bool(one.reads) == pictures}
    if not 1 <= len(names) <= MOST_PANES or not set(names) <= set(known):
        raise RequestError(f"models: expected 1 to {MOST_PANES} of {', '.join(known) or 'none'}, "
                           "one a line.", param="models")
    return [known[name] for name in dict.fromkeys(names)]


async def look(one: Contestant, given: bytes | str, dataset: Dataset | None, find: Find,
               authorization: str) -> Pane:
    """Return what one model makes of an image or a text; a failure is its own."""
    pane: Pane = {"name": one.name, "classes": [], "neighbours": [], "error": None}
    began = time.monotonic()
    try:
        [vector] = await embed(one, [given], authorization)
        pane |= {"seconds": time.monotonic() - began, "size": len(vector)}
        pane["classes"] = await classify(one, given, authorization)
        if dataset is not None:
            index = await find(one, dataset, authorization)
            pane["neighbours"] = [{
                "row": row.row, "label": row.label, "similarity": cosine,
                "text": row.data[:EXCERPT] if isinstance(row.data, str) else ""}
                for row, cosine in nearest(index, vector)]
    except FAILURES as err:
        pane["error"] = say(err)
    return pane


async def classify(one: Contestant, given: bytes | str, authorization: str) -> list[Pane]:
    """Return the classes of an input, the most probable first; none of a model without a head."""
    status, found = await ask(one.endpoint, "POST", "/v1/classify", {
        "model": one.model, "input": spelt(given)}, authorization)
    try:
        row = found["data"][0] if status == 200 else {"labels": [], "probs": []}
        pairs = [(str(name), float(p)) for name, p in zip(row["labels"], row["probs"], strict=True)]
    except (KeyError, TypeError, ValueError, IndexError) as err:
        raise RequestError(f"The server's classes cannot be read ({err}).", status=502) from err
    return [{"label": name, "probability": p}
            for name, p in sorted(pairs, key=lambda pair: -pair[1])]


def compare(panes: Sequence[Pane]) -> dict[str, Any]:
    """Return the panes with their differences: the spread of each class, and shared neighbours.

    A class is shown in every pane if it is among the best of one, so that bars stand side by side.
    """
    scores = [{c["label"]: c["probability"] for c in pane["classes"]} for pane in panes]
    judged = [score for score in scores if score]
    best = dict.fromkeys(c["label"] for pane in panes for c in pane["classes"][:CLASSES])
    rows = [{n["row"] for n in pane["neighbours"]} for pane in panes if pane["neighbours"]]
    shared = set.intersection(*rows) if len(rows) > 1 else set()
    for pane, score in zip(panes, scores, strict=True):
        shown = sorted((name for name in best if name in score), key=lambda name: -score[name])
        pane["classes"] = [{"label": name, "probability": score[name],
                            "spread": spread([s[name] for s in judged if name in s])}
                           for name in shown]
        for one in pane["neighbours"]:
            one["shared"] = len(rows) < 2 or one["row"] in shared
    return {"panes": list(panes), "sentence": sentence(panes, rows, shared)}


def spread(values: Sequence[float]) -> float:
    """Return by how much models differ on one class."""
    return max(values) - min(values)


def sentence(panes: Sequence[Pane], rows: Sequence[set[int]], shared: set[int]) -> str:
    """Say in words how the panes differ."""
    firsts = {pane["classes"][0]["label"] for pane in panes if pane["classes"]}
    said = []
    if sum(bool(pane["classes"]) for pane in panes) > 1:
        said.append("All models name the same class." if len(firsts) == 1 else
                    f"The models name {len(firsts)} different classes.")
    if len(rows) > 1:
        said.append(f"{len(shared)} of {len(rows[0])} nearest neighbours are the same.")
    return " ".join(said)
