"""What a server keeps of its requests: figures under two names, and a log in Parquet."""

import http.client
import json
import threading
import time
from contextlib import closing

import pyarrow.parquet as pq
import pytest

from ssljax.core.errors import ServeError
from ssljax.serve.batching import Figures
from ssljax.serve.log import LogOptions, make_log
from ssljax.serve.metrics import make_metrics
from ssljax.serve.server import make_server

FIELDS = {"model": "toy", "prompt": "hi", "max_tokens": 4, "seed": 3}


def ask(port, fields=FIELDS, *, secret="", path="/v1/completions"):
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST" if fields else "GET", path, fields and json.dumps(fields),
                           headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def rows_of(folder):
    return [row for path in sorted(folder.glob("*.parquet"))
            for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize("text", [False, True])
def test_log_has_a_row_for_every_call_and_texts_only_when_asked(running, tmp_path, text):
    log = make_log(LogOptions(tmp_path, text=text))
    with running({"toy": "abc"}, {"alice": {}}, log=log.write) as server:
        secret = server.secrets["alice"]
        said = json.loads(ask(server.port, secret=secret)[1])
        ask(server.port, secret="wrong")
        ask(server.port, None, path="/healthz")
    log.close()
    good, refused = sorted(rows_of(tmp_path), key=lambda row: row["status"])
    assert (good["model"], good["version"], good["route"], good["status"]) == (
        "toy", "1", "/v1/completions", 200)
    assert good["caller"].startswith("key-") and good["fingerprint"] == "fp-abc"
    assert (good["prompt_tokens"], good["completion_tokens"]) == (3, 4)
    assert 0 < good["first_seconds"] <= good["seconds"] and len(good["digest"]) == 32
    assert abs(good["time"].timestamp() - time.time()) < 60
    answer = [said["choices"][0]["text"]]
    assert (good["prompt"], good["completion"]) == ((["hi"], answer) if text else (None, None))
    assert said["id"] == f"cmpl-{good['request']}"
    assert refused["status"] == 401 and refused["model"] is None
    assert not list(tmp_path.glob(".*"))


def test_log_samples_and_rotates_by_number_and_time(tmp_path):
    log = make_log(LogOptions(tmp_path, sample=0.2, rows=50, seconds=0.1))
    for number in range(1000):
        log.write({"time": 1.0, "request": str(number)})
    time.sleep(0.3)                      # the last file comes by time
    found = rows_of(tmp_path)
    sizes = [pq.read_metadata(path).num_rows for path in tmp_path.glob("*.parquet")]
    log.write({"time": 2.0, "request": "last"})
    log.close()
    assert 120 < len(found) < 280 and max(sizes) == 50 and len(sizes) > 2
    assert log.dropped() == 0


def figures(port):
    text = ask(port, None, path="/metrics")[1]
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_figures_by_model_and_version_and_under_vllms_names(running):
    with running({"toy": "a", "toy@2": "b"}) as server:
        for model in ("toy@1", "toy@2", "toy@2"):
            assert ask(server.port, FIELDS | {"model": model})[0] == 200
        found = figures(server.port)
        two, theirs = 'model="toy",version="2"', 'model_name="toy",version="2"'
        assert float(found[f"ssljax_generated_tokens_total{{{two}}}"]) == 8
        for ours, alias, count in (
                ("time_to_first_token_seconds", "time_to_first_token_seconds", 2),
                ("time_per_output_token_seconds", "request_time_per_output_token_seconds", 2),
                ("inter_token_latency_seconds", "inter_token_latency_seconds", 6),
                ("request_seconds", "e2e_request_latency_seconds", 2)):
            assert float(found[f"ssljax_{ours}_count{{{two}}}"]) == count
            assert float(found[f"vllm:{alias}_count{{{theirs}}}"]) == count
        for alias, value in (("num_requests_running", 0), ("num_requests_waiting", 0),
                             ("kv_cache_usage_perc", 0), ("generation_tokens_total", 8),
                             ("prompt_tokens_total", 6)):
            assert float(found[f"vllm:{alias}{{{theirs}}}"]) == value
        success = 'finished_reason="length",model_name="toy",version="2"'
        assert float(found[f"vllm:request_success_total{{{success}}}"]) == 2


def test_use_of_the_cache_is_that_of_its_pages_not_of_the_slots(running):
    with running({"toy": "slow"}) as server:
        call = threading.Thread(target=ask, args=(server.port, FIELDS | {"max_tokens": 40}))
        call.start()
        while not server.state.models.served()[0].engine.load().busy:
            time.sleep(0.005)
        found = figures(server.port)
        call.join(20)
    ours, theirs = 'model="toy",version="1"', 'model_name="toy",version="1"'
    assert float(found[f"ssljax_slot_use{{{ours}}}"]) == 1 / 8
    assert float(found[f"vllm:kv_cache_usage_perc{{{theirs}}}"]) == 3 / 12
    for name, value in (("pages", 12), ("pages_used", 3), ("pages_kept", 1)):
        assert float(found[f"ssljax_cache_{name}{{{ours}}}"]) == value


def test_hits_of_the_prefix_cache_are_counted_in_tokens_under_both_names():
    metrics = make_metrics()
    for prompt, found in ((41, 32), (21, 0)):
        metrics.of("toy", "1").reused(prompt, found)
    text = metrics.render().decode()
    for name, labels in (("ssljax_", 'model="toy"'), ("vllm:", 'model_name="toy"')):
        assert f'{name}prefix_cache_queries_total{{{labels},version="1"}} 62.0' in text
        assert f'{name}prefix_cache_hits_total{{{labels},version="1"}} 32.0' in text


def test_what_has_no_cache_has_no_figures_of_one():
    metrics = make_metrics()
    metrics.watch("eyes", "1", lambda: Figures(0, 0, 1, True))
    assert b'ssljax_slots{model="eyes",version="1"} 1.0' in metrics.render()
    assert b"ssljax_cache_use{" not in metrics.render()
    metrics.forget("eyes", "1")
    assert b"eyes" not in metrics.render()


def test_certificate_and_key_must_be_there_and_belong_together(tmp_path):
    with pytest.raises(ServeError, match="TLS certificate"):
        make_server(None, grace=1, tls=(tmp_path / "a.pem", tmp_path / "b.pem"))
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    with pytest.raises(ServeError, match="belong together"):
        make_server(None, grace=1, tls=(junk, junk))
