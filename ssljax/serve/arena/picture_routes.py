"""What encoders make of an image, side by side: classes, neighbours, and where they differ.

POST /arena/images?models=A%0AB&data=0    the body is an image file
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
from ssljax.serve.arena.neighbours import Find, data_url, embed, nearest, open_indices
from ssljax.serve.arena.row_routes import whole
from ssljax.serve.arena.state import Arena, guarded
from ssljax.serve.arena.viewer import Dataset
from ssljax.serve.http import read_body

LARGEST_FILE = 10 << 20          # bytes
CLASSES = 5

Pane = dict[str, Any]


def routes(arena: Arena) -> list[BaseRoute]:
    """Return the route of images."""
    find = open_indices()

    async def images(request: Request, authorization: str) -> Response:
        data = await read_body(request, LARGEST_FILE)
        number = request.query_params.get("data", "")
        dataset = None if arena.keyless or not number else chosen(arena, number)
        contestants, _ = await find_contestants(arena.endpoints, authorization)
        wanted = encoders(contestants, request.query_params.get("models", "").split("\n"))
        panes = await asyncio.gather(*(look(one, data, dataset, find, authorization)
                                       for one in wanted))
        return JSONResponse(compare(panes) | {"data": number})

    return [Route("/arena/images", guarded(arena, images), methods=["POST"])]


def chosen(arena: Arena, number: str) -> Dataset:
    """Return the data set that neighbours are looked for in.

    Raises:
        RequestError: there is none of that number, or it has no images.
    """
    at = whole(number, "data", 10**6)
    if at >= len(arena.datasets) or not arena.datasets[at].images:
        raise RequestError(f"Data set {at} is not there, or has no images.", status=404)
    return arena.datasets[at]


def encoders(contestants: Sequence[Contestant], names: Sequence[str]) -> list[Contestant]:
    """Return the encoders of some names.

    Raises:
        RequestError: one is not there, or they are too many.
    """
    known = {one.name: one for one in contestants if one.kind == "encoder"}
    if not 1 <= len(names) <= MOST_PANES or not set(names) <= set(known):
        raise RequestError(f"models: expected 1 to {MOST_PANES} of {', '.join(known) or 'none'}, "
                           "one a line.", param="models")
    return [known[name] for name in dict.fromkeys(names)]


async def look(one: Contestant, data: bytes, dataset: Dataset | None, find: Find,
               authorization: str) -> Pane:
    """Return what one encoder makes of an image; a failure is its own."""
    pane: Pane = {"name": one.name, "classes": [], "neighbours": [], "error": None}
    began = time.monotonic()
    try:
        [vector] = await embed(one, [data], authorization)
        pane |= {"seconds": time.monotonic() - began, "size": len(vector)}
        pane["classes"] = await classify(one, data, authorization)
        if dataset is not None:
            index = await find(one, dataset, authorization)
            pane["neighbours"] = [{"row": picture.row, "label": picture.label, "similarity": cosine}
                                  for picture, cosine in nearest(index, vector)]
    except FAILURES as err:
        pane["error"] = say(err)
    return pane


async def classify(one: Contestant, data: bytes, authorization: str) -> list[Pane]:
    """Return the classes of an image, the most probable first; none of a model without a head."""
    status, found = await ask(one.endpoint, "POST", "/v1/classify", {
        "model": one.model, "input": data_url(data)}, authorization)
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
