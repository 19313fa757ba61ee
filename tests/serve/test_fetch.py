"""URLs in inputs: refused by default; fetched within bounds, never from private addresses."""

import asyncio
import contextlib
import http.server
import threading
import time

import pytest

from ssljax.core.errors import RequestError
from ssljax.serve.fetch import make_fetch
from ssljax.serve.inputs import refuse_urls


class Pages(http.server.BaseHTTPRequestHandler):
    """Answer /small, /large without end, /moved, /slow; anything else is not there."""

    def do_GET(self):
        self.send_response({"/moved": 302, "/none": 404}.get(self.path, 200))
        if self.path == "/moved":
            self.send_header("Location", "/small")
        self.end_headers()
        with contextlib.suppress(OSError):
            if self.path == "/slow":
                time.sleep(2)
            for _ in range(1000 if self.path == "/large" else 1):
                self.wfile.write(b"x" * 100)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture(scope="module")
def url():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_is_there_is_read(url):
    fetch = make_fetch(allow_private=True)
    assert asyncio.run(fetch(f"{url}/small")) == b"x" * 100


@pytest.mark.parametrize(("path", "message"), [
    ("/large", "more than 1000 bytes"), ("/moved", "redirects are not followed"),
    ("/none", "it answers 404"), ("/slow", "more than 0.5 seconds")])
def test_what_is_out_of_bounds_is_a_clients_error(url, path, message):
    fetch = make_fetch(allow_private=True, most=1000, seconds=0.5)
    with pytest.raises(RequestError, match=message) as caught:
        asyncio.run(fetch(url + path))
    assert caught.value.status == 400


@pytest.mark.parametrize("name", [
    "127.0.0.1:1", "localhost:1", "10.0.0.1", "[::1]:1", "169.254.169.254/latest/meta-data",
    "[::ffff:127.0.0.1]:1", "0.0.0.0:1"])
def test_private_addresses_are_never_connected_to(name):
    with pytest.raises(RequestError, match="does not lead to a public address"):
        asyncio.run(make_fetch()(f"http://{name}"))


@pytest.mark.parametrize("bad", ["http://", "http://a b/", "http://[::1", "https://\x00/",
                                 "http://nowhere.invalid/"])
def test_urls_that_lead_nowhere_are_a_clients_error(bad):
    with pytest.raises(RequestError, match="cannot be fetched"):
        asyncio.run(make_fetch(seconds=5)(bad))


def test_nothing_is_fetched_unless_the_server_was_told_to():
    with pytest.raises(RequestError, match="start it with --fetch-urls"):
        asyncio.run(refuse_urls("https://example.org/a.png"))
