"""Chat is a completion of the rendered messages, in OpenAI's chat shape."""

import json

import pytest

PATH = "/v1/chat/completions"
SAID = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
ASKED = {"model": "talker", "messages": SAID, "max_tokens": 4, "temperature": 0}


def prompt_of(site, messages):
    """Return what the template makes of messages, as ids without the start token."""
    ids = []
    for message in messages:
        ids += [*f"<|{message['role']}|>{message['content']}".encode(),
                site.artefacts["talker"].tokenizer.end_of_text, *b"\n"]
    return [*ids, *b"<|assistant|>"]


def events(site, fields):
    """Return the chunks of a streamed answer."""
    answer = site.client.post(PATH, json=fields | {"stream": True})
    assert answer.status_code == 200 and answer.text.endswith("data: [DONE]\n\n")
    return [json.loads(event.removeprefix("data: "))
            for event in answer.text.split("\n\n")[:-2]]


def test_an_answer_is_the_completion_of_the_rendered_messages(site, ask):
    said = [{"role": "user", "content": "hi"}]
    chat = ask(PATH, ASKED | {"messages": said, "stop": "~"})
    plain = ask("/v1/completions", {"model": "talker", "prompt": prompt_of(site, said),
                                    "max_tokens": 4, "temperature": 0, "stop": ["~", "<|"]})
    [choice], [right] = chat["choices"], plain["choices"]
    assert choice["message"] == {"role": "assistant", "content": right["text"], "refusal": None}
    assert choice["finish_reason"] == right["finish_reason"] and choice["logprobs"] is None
    assert chat["usage"] == plain["usage"] and chat["object"] == "chat.completion"
    assert chat["id"].startswith("chatcmpl-") and chat["model"] == "talker"
    assert chat["system_fingerprint"] == plain["system_fingerprint"]


def test_content_may_come_in_parts(ask):
    said = [{"role": "user", "content": [{"type": "text", "text": "h"},
                                         {"type": "text", "text": "i"}]}]
    whole = [{"role": "user", "content": "hi", "name": "Ann"}]
    answers = [ask(PATH, ASKED | {"messages": each})["choices"] for each in (said, whole)]
    assert answers[0] == answers[1]


def test_a_stream_begins_with_the_role_and_adds_up_to_the_answer(site, ask):
    fields = ASKED | {"messages": SAID[1:], "n": 2, "temperature": 1, "seed": 3, "max_tokens": 6}
    chunks = events(site, fields | {"stream_options": {"include_usage": True}})
    right = ask(PATH, fields)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    *parts, last = chunks
    assert last["choices"] == [] and last["usage"] == right["usage"]
    assert all(chunk["usage"] is None for chunk in parts)
    for index, choice in enumerate(right["choices"]):
        mine = [c for chunk in parts for c in chunk["choices"] if c["index"] == index]
        assert mine[0]["delta"]["role"] == "assistant" and mine[0]["delta"]["content"] == ""
        text = "".join(c["delta"].get("content", "") for c in mine)
        assert text == choice["message"]["content"]
        assert [c["finish_reason"] for c in mine if c["finish_reason"]] == [
            choice["finish_reason"]]


def test_log_probabilities_have_the_chats_form(ask):
    fields = ASKED | {"messages": SAID[1:], "logprobs": True, "top_logprobs": 2}
    [choice] = ask(PATH, fields)["choices"]
    [none] = ask(PATH, fields | {"top_logprobs": None})["choices"]
    entries = choice["logprobs"]["content"]
    assert entries and "".join(bytes(e["bytes"]).decode("utf-8", "replace") for e in entries)
    for entry in entries:
        assert [e["logprob"] for e in entry["top_logprobs"]] == sorted(
            (e["logprob"] for e in entry["top_logprobs"]), reverse=True)
        assert len(entry["top_logprobs"]) == 2 and entry["logprob"] <= 0
        assert entry["top_logprobs"][0]["token"] == entry["token"]         # greedy
    assert all(entry["top_logprobs"] == [] for entry in none["logprobs"]["content"])


@pytest.mark.parametrize(("fields", "message"), [
    ({"messages": None}, "messages is missing"),
    ({"messages": []}, "a list of 1 to 1024 messages"),
    ({"messages": [{"role": "tool", "content": "1"}]}, "this server calls no tools"),
    ({"messages": [{"role": "user"}]}, "messages[0].content is null; expected a string"),
    ({"messages": [{"role": "user", "content": "a", "tool_calls": []}]}, "tool_calls"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
     "reads text only"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, "half of a pair"),
    ({"tools": [{"type": "function"}]}, "this server does not offer tools"),
    ({"tool_choice": "auto"}, "does not offer tool_choice"),
    ({"functions": [{}]}, "does not offer functions"),
    ({"modalities": ["audio"]}, "does not offer modalities"),
    ({"store": True}, "does not offer store"),
    ({"audio": {}}, 'Unknown field "audio"'),
    ({"top_logprobs": 3}, "logprobs is not true"),
    ({"max_tokens": 99}, "the model reads at most 48"),
    ({"messages": [{"role": "user", "content": "long" * 20}]}, "the model reads at most 48"),
    ({"n": 17}, "at most 16 choices"),
])
def test_what_is_not_offered_is_refused_by_name(refused, fields, message):
    assert message in refused(PATH, ASKED | {"messages": SAID[1:]} | fields)


def test_models_that_were_not_taught_to_converse_say_what_they_do(refused):
    assert "Use /v1/completions" in refused(PATH, ASKED | {"model": "tiny"})
    assert "generates no text" in refused(PATH, ASKED | {"model": "eyes"})


def test_text_and_ids_are_each_others_inverse(ask, refused):
    ids = ask("/tokenize", {"model": "tiny", "prompt": "héllo", "return_token_strs": True})
    assert ids["tokens"] == list("héllo".encode()) and ids["count"] == 6
    assert ids["token_strs"][:3] == ["h", "bytes:\\xc3", "bytes:\\xa9"]
    back = ask("/detokenize", {"model": "tiny", "tokens": ids["tokens"]})
    assert back == {"prompt": "héllo"}
    assert "token id 999" in refused("/detokenize", {"model": "tiny", "tokens": [999]})
    assert "reads no text" in refused("/tokenize", {"model": "eyes", "prompt": "a"})
