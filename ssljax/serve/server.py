"""Sockets and signals around the HTTP application: bind, serve, drain.

SIGTERM and Ctrl-C drain: readiness says no at once, what runs and what still comes is answered, and
the server ends once nothing runs, or when the grace period is over. A second signal ends it now.
"""

import errno
import ipaddress
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import uvicorn

from ssljax.core.errors import ServeError
from ssljax.serve.gate import Gate, make_gate

BACKLOG = 2048
# A client that takes nothing for so long is cut off by the kernel, which alone sees it: bytes wait
# in its buffers and ours while the answer is complete for all that the application knows.
STALL_SECONDS = 30.0
POLL = 0.02                        # seconds between two looks at whether all calls have ended


def check_exposure(host: str, *, guarded: bool) -> None:
    """Refuse to offer the model to other machines without keys.

    Raises:
        ServeError: `host` is not a loopback address and nobody is asked for a key.
    """
    try:
        private = ipaddress.ip_address(host).is_loopback
    except ValueError:                               # a name; only this one surely stays here
        private = host == "localhost"
    if not private and not guarded:
        raise ServeError(f"Host {host} can be reached from other machines, and there is no API "
                         "key. Give --keys FILE (`ssljax keys add FILE --name NAME`) or set "
                         "SSLJAX_API_KEY, or serve on 127.0.0.1.")


def bind(host: str, port: int, *, stall: float = STALL_SECONDS) -> socket.socket:
    """Return a socket bound to `host` and `port` (0 for any free one); not listening yet.

    Args:
        host: an address of this machine.
        port: to listen on.
        stall: seconds after which a client that takes nothing is cut off (Linux).

    Raises:
        ServeError: the port is in use, out of range, or the host is not of this machine.
    """
    if not 0 <= port < 65536:
        raise ServeError(f"Port {port} does not exist; expected 1 to 65535, or 0 for a free one.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as err:
        raise ServeError(f"Host {host!r} is not an address of this machine ({err}).") from err
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):          # connections inherit it
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * stall))
    try:
        sock.bind(address)
    except OSError as err:
        sock.close()
        raise cannot_bind(host, port, err) from err
    return sock


def listen(sock: socket.socket, *, scheme: str = "http") -> str:
    """Let clients connect; return the server's address as a URL.

    Raises:
        ServeError: another process listens on the port since it was bound.
    """
    host, port = sock.getsockname()[:2]
    try:
        sock.listen(BACKLOG)
    except OSError as err:
        raise cannot_bind(host, port, err) from err
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def cannot_bind(host: str, port: int, err: OSError) -> ServeError:
    """Return the error of a port that cannot be had, with what to do."""
    if err.errno == errno.EADDRINUSE:
        return ServeError(f"Port {port} on {host} is in use by another process. Choose another "
                          "with --port N; --port 0 takes any free one.")
    if err.errno == errno.EACCES:
        return ServeError(f"Port {port} needs more rights than this user has; choose one from "
                          "1024 up with --port N.")
    return ServeError(f"Cannot bind {host}:{port}: {err.strerror}. Choose another with --host and "
                      "--port.")


def make_server(app: Any, *, grace: float, tls: tuple[Path, Path] | None = None,
                lifespan: Literal["off", "on"] = "off") -> uvicorn.Server:
    """Return a server of the ASGI application `app`.

    Args:
        app: what answers.
        grace: seconds that running requests have to finish at the end; then they are cut off.
        tls: files of a certificate chain and of its key, both PEM; None serves plain HTTP.
        lifespan: "on" where the application wants to be told of start and end.

    Raises:
        ServeError: the files are no certificate and key that belong together.
    """
    certificate, key = tls or (None, None)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan=lifespan, server_header=False,
        proxy_headers=False,               # of proxies nothing is taken; who asks is said by keys
        timeout_graceful_shutdown=max(1, round(grace)), ssl_certfile=certificate, ssl_keyfile=key)
    try:
        config.load()
    except OSError as err:                           # ssl.SSLError is one
        raise ServeError(f"TLS certificate {certificate} and key {key}: {err}. Expected two PEM "
                         "files that belong together.") from err
    return uvicorn.Server(config)


def run_server(server: uvicorn.Server, sock: socket.socket, gate: Gate | None = None,
               ready: Callable[[], None] = lambda: None) -> None:
    """Serve on a listening socket until a signal or `server.should_exit`, then drain.

    The event loop has a thread of its own, so that the main one, where Python runs handlers of
    signals, can wait for them.

    Args:
        server: from make_server.
        sock: from bind, listening.
        gate: of the application: it tells when no call is open.
        ready: is called once a signal ends the server in order.
    """
    gate, events = gate or make_gate(), queue.SimpleQueue()

    def serve() -> None:
        try:
            server.run(sockets=[sock])
        finally:
            events.put("ended")

    thread = threading.Thread(target=serve, name="ssljax-http")
    with on_signals(lambda: events.put("signal")):
        ready()
        thread.start()
        if events.get() == "signal":
            drain(server, gate, events)
        thread.join()


def drain(server: uvicorn.Server, gate: Gate, events: queue.SimpleQueue) -> None:
    """Let open calls end, at most for the grace period; a second signal ends them."""
    gate.drain()
    end = time.monotonic() + server.config.timeout_graceful_shutdown
    while gate.open() and time.monotonic() < end:
        try:
            event = events.get(timeout=POLL)
        except queue.Empty:
            continue
        server.force_exit = event == "signal"
        break
    if gate.open():                      # the grace is over: uvicorn is not to wait once more
        server.config.timeout_graceful_shutdown = 1
    server.should_exit = True
    while not server.force_exit and events.get() == "signal":
        server.force_exit = True


@contextmanager
def on_signals(function: Callable[[], None]) -> Iterator[None]:
    """Call `function` at each SIGTERM and Ctrl-C, in the place of what they did before."""
    if threading.current_thread() is not threading.main_thread():
        yield                            # only the main thread may set handlers
        return
    before = {number: signal.signal(number, lambda number, frame: function())
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
