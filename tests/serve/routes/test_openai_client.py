"""The official openai client runs completions, chat, embeddings, streams and errors."""

import re

import numpy as np
import pytest

from ssljax.serve.embedding import make_embed

openai = pytest.importorskip("openai")

SAID = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def client(site):
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_models_are_listed(client):
    assert {model.id for model in client.models.list()} == {"tiny", "talker", "eyes"}
    assert client.models.retrieve("tiny").id == "tiny"


def test_completions_whole_and_streamed(client):
    fields = dict(model="tiny", prompt="hello", max_tokens=8, temperature=0.9, seed=5, logprobs=2)
    whole = client.completions.create(**fields)
    [choice] = whole.choices
    assert choice.finish_reason in ("length", "stop") and len(choice.logprobs.tokens) == 8
    assert whole.usage.completion_tokens == 8 and whole.system_fingerprint
    parts = list(client.completions.create(**fields, stream=True,
                                           stream_options={"include_usage": True}))
    assert "".join(c.text for part in parts for c in part.choices) == choice.text
    assert parts[-1].usage == whole.usage


def test_chat_whole_and_streamed(client):
    fields = dict(model="talker", messages=SAID, max_completion_tokens=8, temperature=0.9, seed=5,
                  logprobs=True, top_logprobs=2, n=2)
    whole = client.chat.completions.create(**fields)
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert whole.choices[0].message.role == "assistant"
    assert all(len(token.top_logprobs) == 2 for token in whole.choices[0].logprobs.content)
    texts, ends = ["", ""], [None, None]
    for chunk in client.chat.completions.create(**fields, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason or ends[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert ends == [choice.finish_reason for choice in whole.choices]


def test_a_schema_is_kept_to(client):
    pytest.importorskip("llguidance")
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"],
              "additionalProperties": False}
    answer = client.chat.completions.create(
        model="talker", messages=[{"role": "user", "content": "a"}], max_tokens=20, temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    # A model of random weights may fill the rest with white space, which the schema allows.
    assert re.match(r'\{\s*"a"\s*:\s*(true|false)\b', answer.choices[0].message.content)


def test_embeddings_come_as_base64_by_default_and_are_the_same_as_floats(client, site):
    right = make_embed(site.artefacts["tiny"])([np.array(list(b"hello"), np.int32)])
    for options in ({}, {"encoding_format": "float"}):
        found = client.embeddings.create(model="tiny", input="hello", **options)
        assert np.array(found.data[0].embedding, np.float32).tobytes() == right.tobytes()
    assert client.embeddings.create(model="tiny", input=["a", "b"]).usage.total_tokens == 4


def test_errors_are_the_clients_own(client):
    with pytest.raises(openai.NotFoundError, match="not served here"):
        client.completions.create(model="gpt-5", prompt="a")
    with pytest.raises(openai.BadRequestError, match="does not offer tools") as caught:
        client.chat.completions.create(model="talker", messages=SAID, tools=[
            {"type": "function", "function": {"name": "f", "parameters": {}}}])
    assert caught.value.param == "tools"
    with pytest.raises(openai.BadRequestError, match="no chat template"):
        client.chat.completions.create(model="tiny", messages=SAID)
