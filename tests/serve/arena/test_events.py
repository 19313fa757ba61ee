"""Streams of other servers, cut anywhere, give the same deltas."""

import json

import pytest

from ssljax.serve.arena.events import LONGEST_EVENT, Delta, make_reader, read_delta, tokens_of

STREAM = ('data: {"a": "é€"}\n\n: comment\nevent: x\ndata: one\r\ndata:two\r\n\r\n'
          "data: [DONE]\n\n").encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_parts_of_any_size_give_the_same_events(size):
    read = make_reader()
    found = [event for at in range(0, len(STREAM), size) for event in read(STREAM[at:at + size])]
    assert found == ['{"a": "é€"}', "one\ntwo", "[DONE]"]


def test_a_line_without_an_end_is_refused():
    read = make_reader()
    with pytest.raises(ValueError, match="more than"):
        for _ in range(3):
            read(b"data: " + b"x" * (LONGEST_EVENT // 2))


@pytest.mark.parametrize(("body", "delta"), [
    ({"choices": [{"text": "hi", "finish_reason": None}]}, Delta("hi")),
    ({"choices": [{"delta": {"role": "assistant", "content": None}}]}, Delta()),
    ({"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]},
     Delta("hi", finish="stop")),
    ({"choices": [{"message": {"content": "all"}}], "usage": {"completion_tokens": 3}},
     Delta("all", count=3)),
    ({"choices": [], "usage": {"completion_tokens": 7}}, Delta(count=7)),
    ({"choices": [], "usage": {"completion_tokens": -7}}, Delta()),
    ({"error": {"message": "x" * 900}}, Delta(error="x" * 500)),
    ({"error": "full"}, Delta(error="full")),
    ([1], Delta()), ({"choices": "x"}, Delta()), ({"choices": [3]}, Delta()),
    ({"choices": [{"text": 3, "delta": "x", "finish_reason": 4}]}, Delta()),
])
def test_events_of_both_kinds_are_read(body, delta):
    assert read_delta(json.dumps(body)) == delta


def test_what_is_not_json_is_an_error_of_the_pane():
    assert "not JSON" in read_delta("<html>").error
    assert "not JSON" in read_delta("[" * 100_000).error


def test_tokens_of_a_completion_and_of_a_chat():
    completion = {"tokens": ["a", "b"], "token_logprobs": [None, -1],
                  "top_logprobs": [None, {"b": -1, "c": -2}]}
    chat = {"content": [{"token": "b", "logprob": -1, "top_logprobs": [
        {"token": "b", "logprob": -1}, {"token": "c", "logprob": -2}]}]}
    last = ("b", -1.0, (("b", -1.0), ("c", -2.0)))
    assert tokens_of(completion) == (("a", None, ()), last) and tokens_of(chat) == (last,)


@pytest.mark.parametrize("bad", [None, 3, {"content": [3]}, {"tokens": [1], "token_logprobs": "x"},
                                 {"content": [{"token": "a", "logprob": {}}]}])
def test_an_unknown_dialect_of_log_probabilities_gives_no_tokens(bad):
    assert tokens_of(bad) == ()
