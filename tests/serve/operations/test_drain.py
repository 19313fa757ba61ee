"""How a server ends: nothing is lost by default, readiness says so at once, and twice means now."""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

ROOT, STREAMS = Path(__file__).parents[3], 64
CHILD = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("toys", sys.argv[1])
toys = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toys)
from ssljax.serve.server import bind, listen, make_server, run_server
state = toys.open_server(lambda *which: toys.toy_served(*which, go=lambda: state.gate.draining()))
state.models.load(Path(sys.argv[2]), "toy", "1", None)
server = make_server(toys.make_app(state), grace=60)
sock = bind("127.0.0.1", 0)
port = listen(sock).rpartition(":")[2]
run_server(server, sock, state.gate, lambda: print(port, flush=True))
state.models.close()
print("ended", flush=True)
"""


@pytest.fixture
def child(request):
    """A server in a process of its own whose streams wait for the first signal, and its port."""
    word = getattr(request, "param", "abc")
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(Path(__file__).with_name("conftest.py")), word], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with process:
        yield process, int(process.stdout.readline())
        process.kill()


def open_stream(port, tokens):
    """Return the connection and answer of a stream that has begun."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    fields = {"prompt": "a", "max_tokens": tokens, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(fields))
    return connection, connection.getresponse()


def status_of(port, path):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


@pytest.mark.parametrize("child", ["slow"], indirect=True)
def test_sigterm_with_64_open_streams_loses_none(child):
    process, port = child
    texts = []
    threads = [threading.Thread(target=lambda: texts.append(whole(port)))
               for _ in range(STREAMS)]
    for thread in threads:
        thread.start()
    while open_calls(port) < STREAMS:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    assert status_of(port, "/ready") == 503 and status_of(port, "/health") == 200
    for thread in threads:
        thread.join(60)
    assert len(texts) == STREAMS
    assert all(text.endswith("data: [DONE]\n\n") and text.count('"length"') == 1
               for text in texts)
    assert process.wait(30) == 0 and process.stdout.read() == "ended\n"


def open_calls(port):
    """Return how many streams run or wait, as /metrics tells."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines()
               if line.startswith(("ssljax_queue_length{", "ssljax_slots_busy{")))


def whole(port):
    """Return all of a stream of many tokens."""
    connection, answer = open_stream(port, 20)
    with closing(connection):
        return answer.read().decode()


@pytest.mark.parametrize("child", ["slow"], indirect=True)
def test_second_signal_ends_the_server_now(child):
    process, port = child
    connection, answer = open_stream(port, 390)              # of 20 ms each
    with closing(connection):
        answer.readline()
        process.send_signal(signal.SIGTERM)
        while status_of(port, "/ready") != 503:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            assert b"[DONE]" not in answer.read()
        assert process.wait(5) == 0


def test_idle_server_ends_at_the_first_signal(child):
    process, port = child
    with closing(socket.create_connection(("127.0.0.1", port))):        # says nothing
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
