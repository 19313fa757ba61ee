"""What a server says when it starts: every model, its kind, and routes that do answer for it."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ssljax.serve.announcement import announcement, kind_of, paths_of
from ssljax.serve.served import Parent

INPUTS = {"/v1/completions": {"prompt": "a", "max_tokens": 1}, "/v1/embeddings": {"input": "a"},
          "/v1/classify": {"input": "a"},
          "/v1/chat/completions": {"messages": [{"role": "user", "content": "a"}],
                                   "max_tokens": 1}}


@pytest.fixture(scope="module")
def picture():
    stream = io.BytesIO()
    Image.fromarray(np.full((9, 9, 3), 40, np.uint8)).save(stream, "png")
    return base64.b64encode(stream.getvalue()).decode()


@pytest.mark.parametrize("name", ["talker", "tiny", "eyes"])
def test_the_routes_that_are_named_answer_and_the_others_refuse(site, picture, name):
    one = site.served[name]
    for path, fields in INPUTS.items():
        given = fields | ({"input": picture} if name == "eyes" and "input" in fields else {})
        status = site.client.post(path, json=given | {"model": name}).status_code
        assert (status == 200) == (path in paths_of(one)) and status in (200, 400), path


def test_every_model_is_named_in_a_handful_of_lines(site):
    several = [one._replace(version=str(v)) for one in site.served.values() for v in (1, 2, 3)]
    lines = announcement("http://127.0.0.1:8000", several, keyed=False)
    assert lines[0] == "Serving on http://127.0.0.1:8000 (Ctrl-C ends):"
    assert lines[1:4] == [
        "  talker@1, talker@2, talker@3 (decoder): /v1/completions, /v1/chat/completions, "
        "/v1/embeddings",
        "  eyes@1, eyes@2, eyes@3 (encoder of image): /v1/embeddings, /v1/classify",
        "  tiny@1, tiny@2, tiny@3 (decoder): /v1/completions, /v1/embeddings"]
    assert len(lines) == 5 and all(site.client.get(path).status_code == 200 for path in (
        "/v1/models", "/metrics", "/openapi.json")) and "Bearer KEY" in announcement(
        "https://a.example", several, keyed=True)[0]


def test_an_adapter_is_of_its_base(site, tmp_path):
    one = site.served["tiny"]._replace(name="poems", parent=Parent("tiny", "1", tmp_path, 4))
    assert kind_of(one) == "adapter of tiny@1"


def test_what_reads_no_tokens_has_no_length(site):
    models = {one["id"]: one for one in site.client.get("/v1/models").json()["data"]}
    assert models["tiny"]["max_model_len"] == 48 and models["tiny"]["kind"] == "decoder"
    assert "max_model_len" not in models["eyes"] and models["eyes"]["inputs"] == ["image"]
