"""Vectors of texts, ids and pictures over HTTP are those of a job, in every spelling."""

import base64
import re

import numpy as np
import pytest

from ssljax.media.operations import prepare
from ssljax.serve.embedding import make_embed

PATH = "/v1/embeddings"


def vectors(answer):
    return np.array([item["embedding"] for item in answer["data"]], np.float32)


@pytest.fixture(scope="module")
def right(site, png):
    """Return the vector of the picture, as a job gives it."""
    artefact = site.artefacts["eyes"]
    return make_embed(artefact)([prepare(png, artefact.manifest["preprocessing"]["image"])])


def test_texts_and_their_ids_have_one_vector_and_openais_shape(site, ask):
    texts = ["hello", "a longer text, but not much"]
    ids = [list(text.encode()) for text in texts]
    answer = ask(PATH, {"model": "tiny", "input": texts})
    assert [item["index"] for item in answer["data"]] == [0, 1] and answer["object"] == "list"
    tokens = sum(len(text) + 1 for text in texts)
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    embed = make_embed(site.artefacts["tiny"])
    expected = embed([np.array(each, np.int32) for each in ids])
    assert vectors(answer).tobytes() == expected.tobytes()
    assert vectors(ask(PATH, {"model": "tiny", "input": ids})).tobytes() == expected.tobytes()
    for one in (texts[0], ids[0]):
        found = vectors(ask(PATH, {"model": "tiny", "input": one}))
        assert found.tobytes() == expected[:1].tobytes()


def test_base64_holds_the_same_bits(ask):
    fields = {"model": "tiny", "input": "hello"}
    [item] = ask(PATH, fields | {"encoding_format": "base64"})["data"]
    assert base64.b64decode(item["embedding"]) == vectors(ask(PATH, fields)).tobytes()


def test_a_picture_has_one_vector_however_it_is_spelled(ask, png, right):
    data = base64.b64encode(png).decode()
    uri = f"data:image/png;base64,{data}"
    part = {"type": "image_url", "image_url": {"url": uri}}
    for spelling in (data, uri, {"image": data}, part, [data], [part]):
        found = vectors(ask(PATH, {"model": "eyes", "input": spelling}))
        assert found.tobytes() == right.tobytes(), spelling
    both = vectors(ask(PATH, {"model": "eyes", "input": [data, {"image": uri}]}))
    assert both.tobytes() == np.concatenate([right, right]).tobytes()


def test_pixels_are_prepared_as_stored_arrays_are_in_training(site, ask):
    pixels = np.random.default_rng(2).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    artefact = site.artefacts["eyes"]
    right = make_embed(artefact)([prepare(pixels, artefact.manifest["preprocessing"]["image"])])
    for spelling in (pixels.tolist(), {"image": pixels.tolist()}, [pixels.tolist()]):
        found = vectors(ask(PATH, {"model": "eyes", "input": spelling}))
        assert found.tobytes() == right.tobytes()


@pytest.mark.parametrize(("fields", "message"), [
    ({"model": "tiny"}, "input is missing"),
    ({"model": "tiny", "input": ""}, "an empty string"),
    ({"model": "tiny", "input": []}, "input has 0 items"),
    ({"model": "tiny", "input": ["a"] * 2049}, "input has 2049 items"),
    ({"model": "tiny", "input": [1, 257]}, "token id 257; the model has ids 0 to 256"),
    ({"model": "tiny", "input": [[1.5]]}, "expected a string, token ids"),
    ({"model": "tiny", "input": {"image": "aGk="}}, "expected a string, token ids"),
    ({"model": "tiny", "input": "\ud800"}, "half of a pair"),
    ({"model": "tiny", "input": "a", "dimensions": 7}, "dimensions is 7; this model gives 32"),
    ({"model": "tiny", "input": "a", "encoding_format": "hex"}, '"float" or "base64"'),
    ({"model": "tiny", "input": "a", "inptu": 1}, 'did you mean "input"'),
    ({"model": "eyes", "input": "no base64!"}, "input is no base64"),
    ({"model": "eyes", "input": "aGVsbG8="}, "A file is no image"),
    ({"model": "eyes", "input": 3}, "expected image as base64"),
    ({"model": "eyes", "input": {"audio": "aGk="}}, "expected image as base64"),
    ({"model": "eyes", "input": "data:image/png,hi"}, "expected data:TYPE;base64,DATA"),
    ({"model": "eyes", "input": "https://example.org/a.png"}, "this server fetches none"),
    ({"model": "eyes", "input": [[[1, 2, 3]]]}, r"expected uint8 \(16, 16, 3\)"),
    ({"model": "eyes", "input": [[[1, 2, 300]]]}, "whole numbers from 0 to 255"),
    ({"model": "eyes", "input": [[[1, 2], [3]]]}, "lists of unequal lengths"),
])
def test_what_cannot_be_embedded_is_refused(refused, fields, message):
    assert re.search(message, refused(PATH, fields))


def test_an_unknown_model_is_a_404(refused):
    assert "not served here" in refused(PATH, {"model": "gpt-5", "input": "a"}, 404)


def test_who_will_not_wait_is_told_when_to_come_again(site):
    answer = site.client.post(PATH, json={"model": "tiny", "input": "a", "max_wait": 0})
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "overloaded"
    assert answer.headers["retry-after"]


def test_classes_have_names_and_probabilities(site, ask, png, refused):
    data = base64.b64encode(png).decode()
    [item] = ask("/classify", {"model": "eyes", "input": data})["data"]
    assert item["labels"] == ["cat", "dog", "owl"] and item["num_classes"] == 3
    assert abs(sum(item["probs"]) - 1) < 1e-9
    assert item["label"] == item["labels"][int(np.argmax(item["probs"]))]
    [best] = ask("/v1/classify", {"model": "eyes", "input": data, "top": 2})["data"]
    ranked = sorted(zip(item["probs"], item["labels"], strict=True), reverse=True)[:2]
    assert list(zip(best["probs"], best["labels"], strict=True)) == ranked
    assert "does not classify; it can embed, sequence" in refused(
        "/classify", {"model": "tiny", "input": "a"})


def test_probabilities_are_the_softmax_of_the_head_over_the_vector(site, ask, right, png):
    head = site.artefacts["eyes"].weights["head"]
    logits = right[0] @ np.asarray(head["w"]) + np.asarray(head["b"])
    powers = np.exp(logits - logits.max())
    [item] = ask("/classify", {"model": "eyes", "input": base64.b64encode(png).decode()})["data"]
    np.testing.assert_allclose(item["probs"], powers / powers.sum(), rtol=1e-5)
