"""The HTTP interface against a real server on loopback: answers, streams, limits, refusals."""

import contextlib
import http.client
import json
import socket
import threading
import time

import pytest

from ssljax.serve.engine import start_engine

PROMPT = {"prompt": "hello", "max_tokens": 12, "temperature": 0.9, "seed": 5}


@pytest.fixture(scope="module")
def shared(device, artefact):
    engine = start_engine(device, artefact.tokenizer, queue=30)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def port(shared, serving):
    with serving(shared) as port:
        yield port


@pytest.fixture
def gate():
    """An event that lets the gated engine decode."""
    return threading.Event()


@pytest.fixture
def gated_engine(device, artefact, gate):
    """An engine that reads prompts, and decodes only while the gate is open."""
    def decode(*args):
        assert gate.wait(30)
        return device.decode(*args)

    engine = start_engine(device._replace(decode=decode), artefact.tokenizer, queue=1)
    yield engine
    gate.set()
    engine.close()


def eventually(condition, seconds=10.0):
    """Say whether `condition` becomes true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def open_stream(port, fields):
    """Send a streamed request and return its connection once the first event has come."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/completions", json.dumps(fields | {"stream": True}))
    answer = connection.getresponse()
    assert answer.status == 200
    answer.readline()
    return connection, answer


def test_answer_has_openais_shape(port, post):
    status, body = post(port, PROMPT | {"temperature": 0})
    [choice] = body["choices"]
    assert status == 200 and body["object"] == "text_completion" and body["model"] == "tiny"
    assert body["id"].startswith("cmpl-") and abs(body["created"] - time.time()) < 60
    assert choice["index"] == 0 and choice["finish_reason"] == "length"
    assert choice["logprobs"] is None
    assert body["usage"] == {"prompt_tokens": 6, "completion_tokens": 12, "total_tokens": 18}


def test_app_says_what_the_engine_says(port, post, shared, ask, gather):
    [pieces] = gather(shared, [ask("hello", 12)])
    _, body = post(port, PROMPT | {"temperature": 0})
    assert body["choices"][0]["text"] == "".join(piece.text for piece in pieces)


def test_streaming_equals_not_streaming(port, post, stream):
    fields = PROMPT | {"prompt": ["hello", "a"], "n": 2, "logprobs": 2, "echo": True}
    _, body = post(port, fields)
    parts = stream(port, fields | {"stream_options": {"include_usage": True}})
    assert parts[-1]["choices"] == [] and parts[-1]["usage"] == body["usage"]
    assert all(part["usage"] is None for part in parts[:-1])
    assert not any("usage" in part for part in stream(port, fields))
    for expected in body["choices"]:
        mine = [part["choices"][0] for part in parts[:-1]
                if part["choices"][0]["index"] == expected["index"]]
        assert "".join(c["text"] for c in mine) == expected["text"]
        assert mine[-1]["finish_reason"] == expected["finish_reason"]
        assert all(c["finish_reason"] is None for c in mine[:-1])
        for key, values in expected["logprobs"].items():
            assert [v for c in mine for v in c["logprobs"][key]] == values
    assert len({part["id"] for part in parts}) == 1 and len(parts) > 4


def test_first_of_n_choices_is_the_choice_without_n(port, post):
    alone = post(port, PROMPT)[1]["choices"][0]["text"]
    several = [c["text"] for c in post(port, PROMPT | {"n": 3})[1]["choices"]]
    assert several[0] == alone and len(set(several)) > 1


def test_stop_string_ends_the_text_before_it(port, post, stream):
    greedy = PROMPT | {"temperature": 0}
    full = post(port, greedy)[1]["choices"][0]["text"]
    stop = full[5:7]
    _, body = post(port, greedy | {"stop": ["never", stop]})
    assert body["choices"][0]["text"] == full[:full.find(stop)]
    assert body["choices"][0]["finish_reason"] == "stop"
    parts = stream(port, greedy | {"stop": stop})
    assert "".join(part["choices"][0]["text"] for part in parts) == full[:full.find(stop)]


def test_prompt_judged_without_generating(port, post, artefact):
    fields = {"prompt": "hello", "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0}
    judged = post(port, fields)[1]["choices"][0]
    assert judged["text"] == "hello" and judged["finish_reason"] == "length"
    assert judged["logprobs"]["tokens"] == list("hello")
    assert judged["logprobs"]["text_offset"] == [0, 1, 2, 3, 4]
    whole = post(port, fields | {"max_tokens": 3})[1]["choices"][0]["logprobs"]
    assert whole["token_logprobs"][:5] == judged["logprobs"]["token_logprobs"]
    longer = post(port, fields | {"prompt": "hello" + "".join(whole["tokens"][5:7])})[1]
    again = longer["choices"][0]["logprobs"]["token_logprobs"]       # by score, not by decode
    assert again == pytest.approx(whole["token_logprobs"][:7], abs=1e-4)


def test_token_ids_and_text_are_the_same_prompt(port, post):
    text = post(port, PROMPT)[1]["choices"]
    assert post(port, PROMPT | {"prompt": list(b"hello")})[1]["choices"] == text
    assert post(port, PROMPT | {"prompt": [[256, *b"hello"]]})[1]["choices"] == text


@pytest.mark.parametrize("fields, status, message", [
    (b"{", 400, "not JSON"), ({"prompt": "x" * 60}, 400, "61 tokens"),
    ({"prompt": "a", "max_tokens": 10**9}, 400, "1000000000"),
    ({"temperature": -1}, 400, "temperature is -1"), ({"model": "other"}, 404, "not served here"),
    (b'{"prompt": "' + b"x" * 5000 + b'"}', 413, "more than 4096 bytes"),
    ({"prompt": "a\ud800", "max_tokens": 1}, 400, "half of a pair")])
def test_bad_requests_get_one_message_and_the_server_goes_on(port, post, fields, status, message):
    found, body = post(port, fields)
    assert found == status and message in body["error"]["message"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert post(port, PROMPT)[0] == 200


def test_unknown_paths_and_methods_get_the_same_shape(port, request_of):
    for method, path, status in (("GET", "/v2/x", 404), ("GET", "/v1/completions", 405),
                                 ("DELETE", "/healthz", 405)):
        found, text = request_of(port, method, path)
        assert found == status and path in json.loads(text)["error"]["message"]


def test_models_health_and_metrics(port, request_of, post):
    assert json.loads(request_of(port, "GET", "/healthz")[1]) == {"status": "ok"}
    [model] = json.loads(request_of(port, "GET", "/v1/models")[1])["data"]
    assert (model["id"], model["object"], model["max_model_len"]) == ("tiny", "model", 48)

    def figures():
        text = request_of(port, "GET", "/metrics")[1]
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))

    before = figures()
    post(port, PROMPT | {"max_tokens": 7})
    post(port, {"temperature": -1})
    after = figures()

    def grown(name):
        return float(after[name]) - float(before.get(name, 0))

    assert grown('ssljax_generated_tokens_total{model="tiny",version="1"}') == 7
    assert grown('ssljax_prompt_tokens_total{model="tiny",version="1"}') == 6
    assert grown('ssljax_requests_total{model="tiny",status="200",version="1"}') == 1
    assert grown('ssljax_requests_total{model="tiny",status="400",version="1"}') == 1
    assert grown('ssljax_time_to_first_token_seconds_count{model="tiny",version="1"}') == 1
    assert float(after['ssljax_slots{model="tiny",version="1"}']) == 3


def test_key_guards_everything_but_health(shared, serving, request_of):
    with serving(shared, api_key="s3cret") as port:
        assert request_of(port, "GET", "/healthz")[0] == 200
        body = json.dumps(PROMPT).encode()
        for method, path, data in (("GET", "/metrics", None),
                                   ("GET", "/v1/models", None), ("POST", "/v1/completions", body)):
            for header in ({}, {"Authorization": "Bearer s3cre"}, {"Authorization": "s3cret"},
                           {"Authorization": "Bearer s3cret\u00e9"}):
                status, text = request_of(port, method, path, data, header)
                assert status == 401 and "API key" in json.loads(text)["error"]["message"]
            good = {"Authorization": "Bearer s3cret"}
            assert request_of(port, method, path, data, good)[0] == 200


def held(engine):
    """Return how many requests an engine has."""
    return engine.load().busy + engine.load().waiting


def test_full_queue_is_429_and_everyone_admitted_is_answered(gated_engine, gate, serving, post):
    with serving(gated_engine) as port:
        found = []
        threads = [threading.Thread(target=lambda: found.append(post(port, PROMPT)))
                   for _ in range(4)]                     # 3 slots and 1 place
        for thread in threads:
            thread.start()
        assert eventually(lambda: held(gated_engine) == 4)
        status, body = post(port, PROMPT)
        assert (status, body["error"]["code"]) == (429, "queue_full")
        assert "Try again in" in body["error"]["message"]
        gate.set()
        for thread in threads:
            thread.join(30)
        assert [status for status, _ in found] == [200] * 4
        assert len({body["choices"][0]["text"] for _, body in found}) == 1     # one seed


@pytest.mark.parametrize("streamed", [True, False])
def test_client_that_leaves_frees_its_slots(gated_engine, gate, serving, post, request_of,
                                            streamed):
    with serving(gated_engine) as port:
        fields = {"prompt": "a", "max_tokens": 40, "n": 3, "seed": 1, "stream": streamed}
        if streamed:
            connection, _ = open_stream(port, fields)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("POST", "/v1/completions", json.dumps(fields))
        assert eventually(lambda: held(gated_engine) == 3)
        connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
        assert eventually(lambda: held(gated_engine) == 0)     # while no token can be decoded
        gate.set()
        assert post(port, PROMPT)[0] == 200
        left = 'status="499",version="1"} 1.0'
        assert eventually(lambda: left in request_of(port, "GET", "/metrics")[1])


def test_device_failure_is_a_500_before_and_an_error_event_within_a_stream(
        device, artefact, serving, post):
    steps = iter([False] + [True] * 10_000)       # one dispatch of a few tokens works

    def decode(*args):
        if next(steps):
            raise RuntimeError("out of memory at 0x7f")
        return device.decode(*args)

    engine = start_engine(device._replace(decode=decode), artefact.tokenizer, queue=1)
    try:
        with serving(engine) as port:
            connection, answer = open_stream(port, PROMPT)
            with contextlib.closing(connection):
                last = answer.read().decode().strip().split("\n\n")[-1]
            error = json.loads(last.removeprefix("data: "))["error"]
            assert error["type"] == "server_error" and "device failed" in error["message"]
            status, body = post(port, PROMPT)
            assert status == 500 and "0x7f" not in body["error"]["message"]
            assert post(port, PROMPT | {"max_tokens": 1})[0] == 200       # prefill still works
    finally:
        engine.close()


def test_health_tells_that_the_engine_has_stopped(device, artefact, serving, post, request_of):
    engine = start_engine(device, artefact.tokenizer, queue=1)
    with serving(engine) as port:
        engine.close()
        assert request_of(port, "GET", "/healthz")[0] == 503
        assert post(port, PROMPT)[0] == 503
