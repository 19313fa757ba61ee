"""Sockets and signals: who may reach the server, which port, how it ends."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ssljax.core.errors import ServeError
from ssljax.serve.server import bind, check_exposure, listen, on_signals

CHILD = """
import sys
from ssljax.runs.serve import serve
serve(sys.argv[1], port=0, slots=2, grace=20,
      announce=lambda url, served: print(url, len(served), served[0].name, flush=True))
print("drained", flush=True)
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_needs_no_key(host):
    check_exposure(host, guarded=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_other_addresses_need_a_key(host):
    with pytest.raises(ServeError, match="SSLJAX_API_KEY"):
        check_exposure(host, guarded=False)
    check_exposure(host, guarded=True)


def test_port_in_use_is_one_message_that_names_it_and_the_way_out():
    with contextlib.closing(bind("127.0.0.1", 0)) as first:
        listen(first)
        port = first.getsockname()[1]
        with pytest.raises(ServeError, match=rf"Port {port} on 127.0.0.1 is in use.*--port N"):
            bind("127.0.0.1", port)


def test_port_taken_between_bind_and_listen_is_the_same_message():
    with contextlib.closing(bind("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with contextlib.closing(bind("127.0.0.1", port)) as second:
            assert listen(first) == f"http://127.0.0.1:{port}"
            with pytest.raises(ServeError, match=f"Port {port} on 127.0.0.1 is in use"):
                listen(second)


@pytest.mark.parametrize("port", [-1, 65536])
def test_impossible_port_is_refused(port):
    with pytest.raises(ServeError, match=f"Port {port} does not exist"):
        bind("127.0.0.1", port)


def test_unknown_host_is_refused():
    with pytest.raises(ServeError, match="is not an address of this machine"):
        bind("999.1.1.1", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_told_and_handlers_are_put_back(number):
    before, told = signal.getsignal(number), []
    with on_signals(lambda: told.append(number)):
        signal.raise_signal(number)
    assert told == [number] and signal.getsignal(number) is before


def test_sigterm_lets_open_streams_finish_and_exits_cleanly(artefact_path):
    child = subprocess.Popen([sys.executable, "-W", "error", "-c", CHILD, artefact_path],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             cwd=Path(__file__).parents[2])
    with child:
        port = int(re.search(r":(\d+) 1 tiny$", child.stdout.readline())[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        fields = {"prompt": ["a"] * 12, "max_tokens": 40, "temperature": 0, "stream": True}
        connection.request("POST", "/v1/completions", json.dumps(fields))
        answer = connection.getresponse()
        answer.readline()
        child.terminate()
        text = answer.read().decode()
        assert text.endswith("data: [DONE]\n\n") and text.count('"finish_reason":"length"') == 12
        connection.close()
        assert child.wait(30) == 0
        assert child.stdout.read() == "drained\n" and child.stderr.read() == ""
        with pytest.raises(OSError), contextlib.closing(socket.socket()) as probe:
            probe.connect(("127.0.0.1", port))
