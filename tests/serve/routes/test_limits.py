"""What requests to encoders cost their key, and how much one of them may ask for."""

import asyncio
import base64
import json
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.testclient import TestClient

from ssljax.core.errors import RequestError
from ssljax.serve.app import make_app
from ssljax.serve.encoding import Encoding
from ssljax.serve.exchange import GoneError, unless_gone
from ssljax.serve.fields import LARGE, MOST_VALUES, Limits
from ssljax.serve.grpc_service import contents_of
from ssljax.serve.inputs import fetched, medium_of
from ssljax.serve.keys import fixed, keys_of, new_key
from ssljax.serve.opening import open_server
from ssljax.serve.served import Served
from ssljax.tokenizers import byte

TEXTS = ["abc", "de"]
TOKENS = 4 + 3                          # their bytes, and a start token each


@pytest.fixture
def asked(tmp_path):
    """Return ask(path, fields): status and facts of a call to a toy that embeds and classifies."""
    async def encode(function, examples, **more):
        return [np.ones(2, np.float32) for _ in examples]

    toy = Encoding(("embed", "classify"), "fp", encode, lambda: None, lambda: None)
    artefact = SimpleNamespace(manifest={"kind": "encoder", "functions": {"classify": {}}},
                               tokenizer=byte.make(), path=tmp_path)
    served, facts = Served("toy", "1", artefact, "fp", 0, None, Limits(9), toy), []
    key, secret = new_key("k", tokens_per_minute=1)
    state = open_server(lambda path, name, version: served, log=facts.append,
                        keys=keys_of(fixed([key])))
    state.models.load(tmp_path, "toy", "1", None)
    with TestClient(make_app(state), headers={"Authorization": f"Bearer {secret}"}) as client:
        yield lambda path, fields: (client.post(path, json=fields).status_code, facts[-1])


@pytest.mark.parametrize("path", ["/v1/embeddings", "/classify", "/v1/classify",
                                  "/v2/models/toy/infer"])
def test_texts_that_an_encoder_has_read_are_paid_for(asked, path):
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": TEXTS}
    fields = {"inputs": [tensor]} if "infer" in path else {"input": TEXTS}
    status, facts = asked(path, fields)
    assert (status, facts["inputs"], facts["prompt_tokens"]) == (200, 2, TOKENS)
    assert asked(path, fields)[0] == 429


def test_numbers_beyond_a_picture_come_as_base64_or_as_binary_tensors(site, refused):
    many = [1] * (MOST_VALUES + LARGE // 2)
    for path, fields in (("/v1/embeddings", {"model": "eyes", "input": many}),
                         ("/classify", {"model": "eyes", "input": many}),
                         ("/v2/models/eyes/infer", {"inputs": [{
                             "name": "image", "datatype": "UINT8", "shape": [1], "data": many}]})):
        assert "binary data" in refused(path, fields, 413)
    head = json.dumps({"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 2 * LARGE],
                                   "parameters": {"binary_data_size": 2 * LARGE}}]})
    answer = site.client.post("/v2/models/eyes/infer", content=head.encode() + b"," * 2 * LARGE,
                              headers={"Inference-Header-Content-Length": str(len(head))})
    assert answer.status_code == 400 and "expected uint8" in answer.json()["error"]


def test_many_typed_values_of_grpc_come_as_bytes():
    few, many = (SimpleNamespace(name="x", datatype="UINT8", contents=SimpleNamespace(
        uint_contents=[1] * count)) for count in (MOST_VALUES, MOST_VALUES + 1))
    assert contents_of(few) == b"\1" * MOST_VALUES
    with pytest.raises(RequestError, match="raw_input_contents") as caught:
        contents_of(many)
    assert caught.value.status == 413


def test_base64_is_decoded_in_pieces_to_the_same_bytes():
    data = np.random.default_rng(0).bytes(3 * LARGE + 5)
    assert medium_of(base64.b64encode(data).decode(), ("image",)) == data
    with pytest.raises(RequestError, match="no base64"):
        medium_of("QUJD" * LARGE + "!", ("image",))


def fetching(content, seconds=0.0):
    """Return a fetch that counts, and its count."""
    done = []

    async def fetch(url):
        done.append(url)
        await asyncio.sleep(seconds)
        return content

    return fetch, done


def test_what_is_at_urls_takes_their_places():
    fetch, done = fetching(b"xy")
    found = asyncio.run(fetched(["a", "https://b", [1], "HTTP://c"], fetch))
    assert found == ["a", b"xy", [1], b"xy"] and done == ["https://b", "HTTP://c"]


@pytest.mark.parametrize("content, seconds, message, most", [
    (b"x" * 40, 0.0, "more than 100 bytes", 3), (b"", 0.05, "more than 0.12 seconds together", 3)])
def test_urls_of_one_request_have_limits_together(content, seconds, message, most):
    fetch, done = fetching(content, seconds)
    with pytest.raises(RequestError, match=message):
        asyncio.run(fetched(["https://a"] * 99, fetch, most=100, seconds=0.12))
    assert len(done) <= most


def test_nothing_more_is_fetched_for_a_client_that_has_gone():
    fetch, done = fetching(b"", 0.02)

    async def receive():
        await asyncio.sleep(0.03)
        return {"type": "http.disconnect"}

    with pytest.raises(GoneError):
        asyncio.run(unless_gone(receive, fetched(["https://a"] * 99, fetch)))
    assert len(done) < 9
