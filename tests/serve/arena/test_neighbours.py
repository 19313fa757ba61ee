"""What models make of images and texts: neighbours, classes, and how models differ."""

import asyncio
import base64
import json

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ssljax.serve.arena import neighbours
from ssljax.serve.arena.app import with_arena
from ssljax.serve.arena.contestants import Contestant, Endpoint
from ssljax.serve.arena.neighbours import Index, embed, nearest, open_indices
from ssljax.serve.arena.picture_routes import compare
from ssljax.serve.arena.state import close_arena, open_arena
from ssljax.serve.arena.transports import application_transport
from ssljax.serve.arena.viewer import Dataset, Example, Rows
from ssljax.serve.caller import Caller

KEY = {"Authorization": "Bearer k"}


def encoders(asked):
    """An application with two encoders of the first three bytes; "twist" swaps two of them.

    "reader" and "backward" are language models that do so with the bytes of texts.
    """
    async def models(request: Request):
        return JSONResponse({"data": [
            *({"id": m, "kind": "encoder", "inputs": ["image"]} for m in ("plain", "twist")),
            *({"id": m, "kind": "decoder", "inputs": ["text"]} for m in ("reader", "backward"))]})

    async def vectors(request: Request):
        body = await request.json()
        asked.append(body)
        inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
        reads = body["model"] in ("reader", "backward")
        files = [one.encode() if reads else base64.b64decode(one.partition(",")[2])
                 for one in inputs]
        if any(f == b"bad" for f in files):
            return JSONResponse({"error": {"message": "no image"}}, 400)
        order = [0, 1, 2] if body["model"] in ("plain", "reader") else [1, 0, 2]
        rows = [np.array([f[i] for i in order], "<f4") for f in files]
        if body.get("encoding_format") == "base64":
            spelt = [base64.b64encode(r.tobytes()).decode() for r in rows]
        return JSONResponse({"data": [{"index": i, "embedding": r} for i, r in enumerate(spelt)]})

    async def classify(request: Request):
        body = await request.json()
        if body["model"] != "plain":
            return JSONResponse({"error": {"message": "no head"}}, 400)
        return JSONResponse({"data": [{"labels": ["cat", "dog"], "probs": [0.25, 0.75]}]})

    return Starlette(routes=[Route("/v1/models", models),
                             Route("/v1/embeddings", vectors, methods=["POST"]),
                             Route("/v1/classify", classify, methods=["POST"])])


@pytest.fixture
def asked():
    return []


@pytest.fixture
def contestant(asked):
    return Contestant("plain", Endpoint("", application_transport(encoders(asked))), "plain",
                      "encoder")


def dataset(*files):
    pictures = [Example(10 + n, f, f"class {n}") for n, f in enumerate(files)]
    return Dataset("d", {"path": "/d"}, lambda query: Rows([], None, 0), lambda n: None,
                   lambda count: pictures[:count], len(files))


def corpus(*texts):
    """A data set of texts that gives two rows at a time, and looks at one without text."""
    def find(query):
        some = list(enumerate(["", *texts]))[query.start:query.start + min(2, query.count)]
        rows = [{"number": number, "text": text} for number, text in some]
        end = query.start + len(some)
        return Rows(rows, end if end <= len(texts) else None, len(some))

    return Dataset("t", {"path": "/t"}, find, lambda n: None, lambda count: [])


def test_vectors_have_length_one(contestant):
    [vector] = asyncio.run(embed(contestant, [bytes([3, 4, 0])], ""))
    np.testing.assert_allclose(vector, [0.6, 0.8, 0], rtol=1e-6)


def test_the_nearest_rows_are_those_of_the_largest_cosine():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = Index([Example(n, b"") for n in range(50)], vectors)
    found = nearest(index, vectors[7], 5)
    expected = sorted(range(50), key=lambda n: -float(vectors[n] @ vectors[7]))[:5]
    assert [picture.row for picture, _ in found] == expected and expected[0] == 7
    assert found[0][1] == pytest.approx(1.0)


def test_rows_are_embedded_once_however_many_ask(contestant, asked, monkeypatch):
    monkeypatch.setattr(neighbours, "AT_ONCE", 2)
    monkeypatch.setattr(neighbours, "MOST_ROWS", 3)
    data = dataset(*(bytes([n, 1, 1]) for n in range(5)))

    async def ask():
        find = open_indices()
        return await asyncio.gather(*(find(contestant, data, "") for _ in range(4)))

    found = asyncio.run(ask())
    assert [len(body["input"]) for body in asked] == [2, 1]
    assert all(index is found[0] for index in found) and len(found[0].vectors) == 3


def test_an_index_that_failed_is_made_again(contestant, asked):
    async def ask():
        find = open_indices()
        for _ in range(2):
            with pytest.raises(Exception, match="no image"):
                await find(contestant, dataset(b"bad"), "")

    asyncio.run(ask())
    assert len(asked) == 2


@pytest.fixture
def client(asked):
    app = encoders(asked)

    async def check(authorization):
        return Caller() if authorization == "Bearer k" else None

    arena = open_arena([Endpoint("", application_transport(app))], check=check, keyless=False,
                       datasets=[dataset(b"\x09\x01\x01", b"\x01\x09\x01"),
                                 corpus("zaa" + "b" * 600, "aza", "aaz")])
    with TestClient(with_arena(app, arena), headers=KEY) as client:
        yield client
    close_arena(arena)


def test_an_image_is_shown_with_what_each_model_makes_of_it(client):
    answer = client.post("/arena/images?models=plain%0Atwist&data=0", content=b"\x09\x01\x01")
    plain, twist = answer.json()["panes"]
    assert [c["label"] for c in plain["classes"]] == ["dog", "cat"] and twist["classes"] == []
    assert [n["row"] for n in plain["neighbours"]] == [10, 11] == [n["row"] for n in
                                                                   twist["neighbours"]]
    assert plain["neighbours"][0]["similarity"] == pytest.approx(1)
    assert "2 of 2 nearest neighbours are the same" in answer.json()["sentence"]


def test_a_file_that_is_no_image_is_each_panes_own_error(client):
    panes = client.post("/arena/images?models=plain&data=", content=b"bad").json()["panes"]
    assert panes[0]["error"] == "no image"


def test_a_text_is_shown_with_the_rows_that_each_model_finds_near_it(client, asked):
    answer = client.post("/arena/texts?models=reader%0Abackward&data=1", content=b"zab").json()
    reader, backward = answer["panes"]
    assert [n["row"] for n in reader["neighbours"]] == [1, 3, 2]          # row 0 has no text
    assert [n["row"] for n in backward["neighbours"]] == [1, 3, 2] and reader["classes"] == []
    assert reader["neighbours"][2]["text"] == "aza" and reader["error"] is None
    assert len(reader["neighbours"][0]["text"]) == 300
    assert answer["sentence"] == "3 of 3 nearest neighbours are the same."
    rows = next(body["input"] for body in asked if isinstance(body["input"], list)
                and len(body["input"]) == 3)
    assert [len(text) for text in rows] == [512, 3, 3]          # what costs time is bounded
    assert client.post("/arena/texts?models=reader&data=1", content=b"\xff").status_code == 400


@pytest.mark.parametrize("query", ["models=reader&data=0", "models=plain&data=1", "models=twist"])
def test_texts_and_images_do_not_mix(client, query):
    assert client.post(f"/arena/texts?{query}", content=b"abc").status_code in (400, 404)
    if "reader" not in query:
        assert client.post("/arena/images?models=plain&data=1", content=b"abc").status_code == 404


@pytest.mark.parametrize("query", ["models=", "models=nobody", "models=plain&data=7",
                                   "models=plain&data=x", "models=" + "%0A".join("abcdefg")])
def test_bad_requests_are_refused(client, query):
    answer = client.post(f"/arena/images?{query}", content=b"abc")
    assert answer.status_code in (400, 404) and json.loads(answer.text)["error"]["message"]


def test_differences_are_the_spread_of_each_class_and_the_unshared_rows():
    def pane(name, scores, rows):
        return {"name": name, "classes": [{"label": k, "probability": v} for k, v in scores],
                "neighbours": [{"row": r, "similarity": 1.0, "label": ""} for r in rows]}

    found = compare([pane("a", [("cat", 0.9), ("dog", 0.1)], [1, 2, 3]),
                     pane("b", [("dog", 0.6), ("cat", 0.4)], [3, 2, 9]), pane("c", [], [])])
    a, b, c = found["panes"]
    assert [x["spread"] for x in a["classes"]] == pytest.approx([0.5, 0.5])
    assert [n["shared"] for n in b["neighbours"]] == [True, True, False] and c["classes"] == []
    assert found["sentence"] == ("The models name 2 different classes. 2 of 3 nearest neighbours "
                                 "are the same.")
