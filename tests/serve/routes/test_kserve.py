"""KServe v2 over HTTP and gRPC: metadata, inference in every spelling, text generation."""

import asyncio
import base64
import json

import numpy as np
import pytest

from ssljax.core.errors import RequestError
from ssljax.media.operations import prepare
from ssljax.serve.embedding import make_embed
from ssljax.serve.routes.kserve import in_protocol

INFER = "/v2/models/{}/infer"


@pytest.fixture(scope="module")
def texts(site):
    """Return two texts and their vectors, as a job gives them."""
    said = ["hello", "a longer text"]
    ids = [np.array(list(text.encode()), np.int32) for text in said]
    return said, make_embed(site.artefacts["tiny"])(ids)


@pytest.fixture(scope="module")
def picture(site, png):
    """Return a picture as its network reads it, and its vector."""
    artefact = site.artefacts["eyes"]
    array = prepare(png, artefact.manifest["preprocessing"]["image"])
    return array, make_embed(artefact)([array])


def tensor(name, datatype, shape, data, **more):
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}


def test_the_server_and_its_models_say_what_they_are(site):
    get = site.client.get
    assert get("/v2").json()["extensions"] == ["binary_tensor_data", "generate"]
    assert get("/v2/health/live").json() == {"live": True}
    assert get("/v2/health/ready").json() == {"ready": True}
    about = get("/v2/models/eyes").json()
    assert about["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8, 3]}]
    assert {out["name"]: out["shape"] for out in about["outputs"]} == {
        "embedding": [-1, 16], "sequence": [-1, 4, 16], "logits": [-1, 3],
        "probabilities": [-1, 3], "label": [-1]}
    assert get("/v2/models/eyes/versions/1").json() == about and about["versions"] == ["1"]
    assert get("/v2/models/tiny/versions/1/ready").json() == {"name": "tiny", "ready": True}
    for path in ("/v2/models/no", "/v2/models/eyes/versions/9", "/v2/models/no/ready"):
        answer = get(path)
        assert answer.status_code == 404 and "not served here" in answer.json()["error"]


def test_texts_become_vectors(ask, texts):
    said, right = texts
    answer = ask(INFER.format("tiny"), {"id": "42", "inputs": [tensor("text", "BYTES", [2], said)]})
    [out] = answer["outputs"]
    assert answer["id"] == "42" and answer["model_version"] == "1"
    assert out["name"] == "embedding" and out["datatype"] == "FP32" and out["shape"] == [2, 32]
    assert np.array(out["data"], np.float32).tobytes() == right.tobytes()
    ids = tensor("tokens", "INT64", [1, 5], [list(b"hello")])
    [out] = ask(INFER.format("tiny"), {"inputs": [ids]})["outputs"]
    assert np.array(out["data"], np.float32).tobytes() == right[:1].tobytes()


def test_each_token_has_a_vector_of_its_own(ask, site, trained):
    [out] = ask(INFER.format("tiny"), {"inputs": [tensor("text", "BYTES", [1], ["hello"])],
                                       "outputs": [{"name": "sequence"}]})["outputs"]
    model, params = trained
    tokens = np.array([[site.artefacts["tiny"].tokenizer.end_of_text, *b"hello"]])
    right = model.apply(params, {"tokens": tokens})["sequence"][0]
    assert out["shape"] == [1, 6, 32]
    np.testing.assert_allclose(np.reshape(out["data"], (6, 32)), right, rtol=1e-4, atol=1e-5)


def test_pictures_come_as_files_pixels_or_as_the_network_reads_them(ask, png, picture):
    array, right = picture
    file = tensor("image", "FP32", [1, 8, 8, 3], array.ravel().tolist())
    answer = ask(INFER.format("eyes"), {"inputs": [file], "outputs": [
        {"name": "embedding"}, {"name": "label"}]})
    vector, label = answer["outputs"]
    assert np.array(vector["data"], np.float32).tobytes() == right.tobytes()
    data = base64.b64encode(png).decode()
    [classes] = ask("/classify", {"model": "eyes", "input": data})["data"]
    assert label["data"] == [classes["label"]] and label["datatype"] == "BYTES"


@pytest.mark.parametrize(("model", "inputs", "message"), [
    ("tiny", [], "The inputs are none; expected one of text, tokens"),
    ("tiny", [tensor("txet", "BYTES", [1], ["a"])], "The inputs are txet"),
    ("tiny", [tensor("text", "INT8", [1], [1])], "expected BYTES"),
    ("tiny", [tensor("text", "BYTES", [0], [])], "1 to 2048 rows"),
    ("tiny", [tensor("text", "BYTES", [], ["a"])], "1 to 2048 rows"),
    ("tiny", [tensor("tokens", "INT32", [1, 1], [999])], "token id 999"),
    ("tiny", [tensor("tokens", "FP32", [1, 1], [1])], "expected whole numbers"),
    ("eyes", [tensor("image", "FP32", [1, 2], [1, 2])], "has shape [2]; the model reads [8, 8, 3]"),
    ("eyes", [tensor("image", "INT8", [1], [1])], "expected BYTES (files), UINT8"),
    ("eyes", [tensor("image", "BYTES", [1], ["no file"])], "A file is no image"),
    ("eyes", [tensor("image", "FP32", [1, 8, 8, 3], [3e38] * 192)], "is not finite"),
])
def test_tensors_that_the_model_does_not_read_are_refused(refused, model, inputs, message):
    assert message in refused(INFER.format(model), {"inputs": inputs})


def test_outputs_that_the_model_does_not_give_are_refused(refused):
    asked = {"inputs": [tensor("text", "BYTES", [1], ["a"])], "outputs": [{"name": "label"}]}
    assert 'has no output "label"' in refused(INFER.format("tiny"), asked)


def test_halves_of_characters_are_refused_by_name(refused):
    half = "\ud800"
    assert "half of a pair" in refused(INFER.format("tiny"), {
        "inputs": [tensor(half, "BYTES", [1], ["a"])]})
    assert "half of a pair" in refused(INFER.format("tiny"), {
        "inputs": [tensor("text", "BYTES", [1], ["a"])], "outputs": [{"name": half}]})
    assert "not UTF-8" in refused(INFER.format("tiny"), {
        "inputs": [tensor("text", "BYTES", [1], [half])]})
    assert "half of a pair" in refused("/v2/models/tiny/generate", {"text_input": half})


@pytest.mark.parametrize("status, wait, header", [(429, 3.2, "4"), (503, 0.1, "1"),
                                                  (400, None, None)])
def test_refusals_say_when_to_try_again(status, wait, header):
    async def refuses(request):
        raise RequestError("no room", status=status, retry_after=wait)

    answer = asyncio.run(in_protocol(refuses)(None))
    assert (answer.status_code, answer.body) == (status, b'{"error":"no room"}')
    assert answer.headers.get("retry-after") == header


def test_text_is_generated_whole_and_by_events(site, ask, refused):
    path = "/v2/models/tiny/generate"
    fields = {"text_input": "hi", "parameters": {"max_tokens": 5, "seed": 1}, "id": "a"}
    plain = ask("/v1/completions", {"model": "tiny", "prompt": "hi", **fields["parameters"]})
    whole = ask(path, fields)
    assert whole["text_output"] == plain["choices"][0]["text"] and whole["id"] == "a"
    assert whole["details"]["finish_reason"] == "length"
    assert whole["details"]["completion_tokens"] == 5
    answer = site.client.post(path + "_stream", json=fields)
    parts = [json.loads(event.removeprefix("data: "))
             for event in answer.text.strip().split("\n\n")]
    assert "".join(part["text_output"] for part in parts) == whole["text_output"]
    assert parts[-1]["details"] == whole["details"]
    assert 'Unknown parameter "n"' in refused(path, fields | {"parameters": {"n": 2}})
    assert "text_input is missing" in refused(path, {})
    assert "generates no text" in refused("/v2/models/eyes/generate", fields)


def test_the_client_of_the_protocols_authors_is_content(site, texts, picture, png):
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(site.url.removeprefix("http://"))
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("tiny")
    assert client.get_server_metadata()["name"] == "ssljax"
    assert client.get_model_metadata("eyes", "1")["name"] == "eyes"
    said, right = texts
    for binary in (True, False):
        given = triton.InferInput("text", [2], "BYTES")
        given.set_data_from_numpy(np.array([text.encode() for text in said], object),
                                  binary_data=binary)
        wanted = [triton.InferRequestedOutput("embedding", binary_data=binary)]
        found = client.infer("tiny", [given], outputs=wanted, request_id="9")
        assert found.as_numpy("embedding").tobytes() == right.tobytes()
        assert found.get_response()["id"] == "9"
    array, vector = picture
    given = triton.InferInput("image", [1, 8, 8, 3], "FP32")
    given.set_data_from_numpy(array[None])
    found = client.infer("eyes", [given], model_version="1")
    assert found.as_numpy("probabilities").shape == (1, 3)
    assert found.as_numpy("embedding").tobytes() == vector.tobytes()
    assert found.as_numpy("label")[0].decode() in ("cat", "dog", "owl")
    with pytest.raises(triton.InferenceServerException, match="not served here"):
        client.infer("no", [given])
    client.close()


def test_grpc_gives_the_same_bits(site, texts, picture):
    grpc = pytest.importorskip("tritonclient.grpc.aio")
    from tritonclient.utils import InferenceServerException

    from ssljax.serve.grpc_service import serving_grpc

    said, right = texts
    array, vector = picture

    async def ask(port):
        async with grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
            assert await client.is_server_live() and await client.is_server_ready()
            assert await client.is_model_ready("tiny", "1")
            assert not await ready(client, "no")
            assert (await client.get_server_metadata()).name == "ssljax"
            about = await client.get_model_metadata("eyes")
            assert about.inputs[0].shape == [-1, 8, 8, 3] and about.versions == ["1"]
            given = grpc.InferInput("text", [2], "BYTES")
            given.set_data_from_numpy(np.array([text.encode() for text in said], object))
            found = await client.infer("tiny", [given], request_id="9")
            assert found.as_numpy("embedding").tobytes() == right.tobytes()
            assert found.get_response().id == "9"
            given = grpc.InferInput("image", [1, 8, 8, 3], "FP32")
            given.set_data_from_numpy(array[None])
            found = await client.infer("eyes", [given], outputs=[
                grpc.InferRequestedOutput("embedding"), grpc.InferRequestedOutput("label")])
            assert found.as_numpy("embedding").tobytes() == vector.tobytes()
            assert found.as_numpy("label")[0].decode() in ("cat", "dog", "owl")
            with pytest.raises(InferenceServerException, match="INVALID_ARGUMENT.*The inputs are"):
                await client.infer("tiny", [given])

    async def ready(client, name):
        try:
            return await client.is_model_ready(name)
        except InferenceServerException as err:
            assert "NOT_FOUND" in str(err.status())
            return False

    async def both():
        async with serving_grpc(site.app, "127.0.0.1:0") as port:
            await ask(port)

    asyncio.run(both())
