"""Serve an application beside other work of the same process: in a notebook, a test, a benchmark.

    with serving(make_app(server)) as address:
        httpx.get(f"{address.url}/v1/models")

The server has a thread of its own; a server that is a process's work is runs/serve.py's.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

from ssljax.serve.server import STALL_SECONDS, Gate, bind, listen, make_server, run_server


class Address(NamedTuple):
    """Where a server listens: "http://127.0.0.1:PORT", and the port."""

    url: str
    port: int


@contextlib.contextmanager
def serving(app: Any, *, gate: Gate | None = None, grace: float = 2.0,
            stall: float = STALL_SECONDS) -> Iterator[Address]:
    """Serve on a free port of loopback while inside; at the end running requests finish.

    Args:
        app: an ASGI application.
        gate: of the server behind it, which then turns new requests away while it drains.
        grace: seconds that running requests have at the end.
        stall: seconds after which a client that takes nothing is cut off (Linux).
    """
    server = make_server(app, grace=grace)
    with contextlib.closing(bind("127.0.0.1", 0, stall=stall)) as sock:
        url = listen(sock)
        thread = threading.Thread(target=run_server, args=(server, sock, gate))
        thread.start()
        try:
            yield Address(url, sock.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(grace + 10)
