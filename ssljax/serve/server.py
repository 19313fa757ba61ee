"""Sockets and signals around the HTTP application: bind, serve, drain.

SIGTERM and Ctrl-C stop accepting, let what runs finish within a grace period, and return.
"""

import errno
import ipaddress
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from ssljax.core.errors import ServeError

BACKLOG = 2048


def check_exposure(host: str, api_key: str | None) -> None:
    """Refuse to offer the model to other machines without a key.

    Raises:
        ServeError: `host` is not a loopback address and there is no key.
    """
    try:
        private = ipaddress.ip_address(host).is_loopback
    except ValueError:                               # a name; only this one surely stays here
        private = host == "localhost"
    if not private and not api_key:
        raise ServeError(f"Host {host} can be reached from other machines, and there is no API "
                         "key. Set SSLJAX_API_KEY or --api-key, or serve on 127.0.0.1.")


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to `host` and `port` (0 for any free one); not listening yet.

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
    try:
        sock.bind(address)
    except OSError as err:
        sock.close()
        raise cannot_bind(host, port, err) from err
    return sock


def listen(sock: socket.socket) -> str:
    """Let clients connect; return the server's address as a URL.

    Raises:
        ServeError: another process listens on the port since it was bound.
    """
    host, port = sock.getsockname()[:2]
    try:
        sock.listen(BACKLOG)
    except OSError as err:
        raise cannot_bind(host, port, err) from err
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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


def make_server(app: Any, *, grace: float) -> uvicorn.Server:
    """Return a server of the ASGI application `app`.

    Args:
        app: what answers.
        grace: seconds that running requests have to finish at the end; then they are cut off.
    """
    return uvicorn.Server(uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=max(1, round(grace))))


def run_server(server: uvicorn.Server, sock: socket.socket) -> None:
    """Serve on a listening socket until SIGTERM, Ctrl-C or `server.should_exit`, then drain."""
    with stop_on_signals(server):
        server.run(sockets=[sock])


@contextmanager
def stop_on_signals(server: uvicorn.Server) -> Iterator[None]:
    """Turn SIGTERM and SIGINT into an ordered stop, from before uvicorn listens to them.

    After its shutdown uvicorn raises the signal it got again, for the handler it found: with the
    default one a drained server would end as if it had been killed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield                            # only the main thread may set handlers
        return

    def stop(number: int, frame: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
