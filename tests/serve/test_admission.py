"""Over HTTP: who is refused and why, whose grammar is wrong, what a text by a grammar is."""

import contextlib
import http.client
import json
import sys
import threading
import time

import jsonschema
import pytest

from ssljax.core.errors import RequestError
from ssljax.serve import grammars
from ssljax.serve.completions import Completion
from ssljax.serve.engine import start_engine
from ssljax.serve.exchange import submit
from ssljax.serve.scheduler import QueueFullError, ShareFullError

SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
          "additionalProperties": False}
NO_BLANKS = {str(ord(blank)): -100 for blank in " \n\r\t"}


@pytest.fixture
def gate():
    return threading.Event()


@pytest.fixture
def port(device, artefact, gate, serving):
    """A server of 3 slots and 2 places, one for each of two callers, that decodes once it may."""
    def decode(*args):
        assert gate.wait(30)
        return device.decode(*args)

    engine = start_engine(device._replace(decode=decode), artefact.tokenizer, queue=2, share=0.5)
    with serving(engine) as port:
        yield port
        gate.set()
    engine.close()


def ask(port, fields):
    """Return status, JSON and Retry-After of a completion."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as line:
        line.request("POST", "/v1/completions", json.dumps(fields))
        answer = line.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers["Retry-After"]


def test_a_text_by_a_schema_validates(port, gate):
    gate.set()
    status, body, _ = ask(port, {
        "prompt": "x", "max_tokens": 30, "n": 2, "seed": 1, "logit_bias": NO_BLANKS,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s",
                                                                   "schema": SCHEMA}}})
    assert status == 200
    for choice in body["choices"]:
        assert choice["finish_reason"] == "stop"
        jsonschema.validate(json.loads(choice["text"]), SCHEMA)


def test_a_wrong_grammar_is_the_clients_fault_whenever_it_is_found(port):
    for schema, where in (({"type": "x"}, "response_format.json_schema.schema"),
                          ({"$ref": "#"}, "response_format")):
        status, body, _ = ask(port, {"prompt": "x", "response_format": {
            "type": "json_schema", "json_schema": {"schema": schema}}})
        assert (status, body["error"]["param"]) == (400, where)


def test_without_the_library_structured_output_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(RequestError, match=r"pip install 'ssljax\[structured\]'") as caught:
        grammars.grammar_of(grammars.Wanted("json", {}, "response_format"))
    assert caught.value.status == 400


def test_share_and_deadline_are_told_with_status_and_reason(port, gate):
    found = []
    threads = [threading.Thread(target=lambda wait=wait: found.append(ask(port, {
        "prompt": "a", "max_tokens": 9, "seed": 1, "max_wait": wait})))
        for wait in (60, 60, 60, 0)]                     # three decode, the fourth waits
    for thread in threads:
        thread.start()
        time.sleep(0.2)
    status, body, retry = ask(port, {"prompt": "a", "max_tokens": 9})
    assert (status, body["error"]["code"], body["error"]["type"]) == (
        429, "queue_full", "rate_limit_error")
    assert int(retry) >= 1
    gate.set()
    for thread in threads:
        thread.join(30)
    assert sorted(status for status, _, _ in found) == [200, 200, 200, 503]
    [late] = [body for status, body, _ in found if status == 503]
    assert late["error"]["code"] == "deadline_exceeded" and "busy" in late["error"]["message"]


@pytest.mark.parametrize("refusal, status, code", [
    (ShareFullError("yours", 7.0), 429, "queue_full"),
    (QueueFullError("all", 3.0), 503, "server_full")])
def test_refusals_of_the_queue_become_statuses_with_a_time_to_try_again(refusal, status, code):
    class Full:
        @staticmethod
        def submit(jobs):
            raise refusal

    with pytest.raises(RequestError) as caught:
        submit(Full, Completion((), 0, False, False), lambda index: print)
    error = caught.value
    assert (error.status, error.code, error.retry_after) == (status, code, refusal.retry)


def test_choices_that_never_fit_are_the_clients_fault(port):
    status, body, retry = ask(port, {"prompt": "a", "max_tokens": 2, "n": 5})
    assert (status, body["error"]["code"], body["error"]["param"], retry) == (
        400, "request_too_large", "n", None)
    assert "3 slots" in body["error"]["message"]
