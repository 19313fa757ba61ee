"""Clients that never read, trickle or flood: they are cut off, and others do not feel them."""

import contextlib
import http.client
import json
import socket
import statistics
import threading
import time
from contextlib import closing

import pytest

from ssljax.serve.background import serving


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the kernel has no such timer")
def test_client_that_never_reads_is_cut_off_with_a_bounded_buffer():
    sent, ended = [], threading.Event()

    async def endless(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while len(sent) < 2000:          # far beyond all buffers: only a cut lets it end
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            sent.append(1)
        ended.set()

    with serving(endless, stall=0.5) as address, closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", address.port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)
        assert len(sent) < 1500          # it waits: nothing piles up behind the sockets' buffers
        assert ended.wait(20)            # and does not wait for ever


def latencies(port, count=30):
    """Return the seconds of `count` requests, one after the other."""
    seconds = []
    fields = json.dumps({"model": "toy", "prompt": "a", "max_tokens": 20})
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for _ in range(count):
            begun = time.perf_counter()
            connection.request("POST", "/v1/completions", fields)
            assert connection.getresponse().read()
            seconds.append(time.perf_counter() - begun)
    return seconds


@contextlib.contextmanager
def abusive(port, behave, clients=8):
    """Run clients that behave badly beside what is measured."""
    stop = threading.Event()
    threads = [threading.Thread(target=behave, args=(port, stop)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)


def never_reads(port, stop):
    with closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        body = json.dumps({"model": "other", "prompt": ["a"] * 8, "max_tokens": 300,
                           "stream": True})
        client.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
                       f"\r\n\r\n{body}".encode())
        stop.wait(60)


def one_byte_a_second(port, stop):
    with closing(socket.create_connection(("127.0.0.1", port))) as client:
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n")
        while not stop.wait(1):
            with contextlib.suppress(OSError):
                client.sendall(b"{")


def floods(port, stop):
    """Ask without a key, 40 times a second: what a refused client that goes on does."""
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        while not stop.wait(0.025):
            connection.request("POST", "/v1/completions", b'{"model": "gone"}')
            assert connection.getresponse().read()


@pytest.mark.slow
@pytest.mark.parametrize("behave", [never_reads, one_byte_a_second, floods])
def test_bad_clients_slow_others_by_less_than_a_third(running, behave):
    with running({"toy": "slow", "other": "abc"}) as server:
        latencies(server.port, 3)
        ratios = []
        for _ in range(3):
            alone = statistics.median(latencies(server.port))
            with abusive(server.port, behave):
                time.sleep(0.5)
                ratios.append(statistics.median(latencies(server.port)) / alone)
        assert min(ratios) < 1.3, ratios
