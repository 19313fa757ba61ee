"""A list of URLs as a WARC file, fetched as a polite stranger would.

robots.txt is obeyed (RFC 9309: none means all, an unreachable one means nothing), a host is asked
once at a time with a pause between, size and time are bounded, and only public addresses are
called: names are resolved here and the address that was checked is the one connected to, for every
redirect too, so that no page leads into the network of whoever crawls. No links are followed.

Reads URLs; writes WARC 1.1 (ISO 28500) with a response each; returns what became of every URL.
"""

import gzip
import http.client
import io
import ipaddress
import pathlib
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from ssljax.core.errors import needed
from ssljax.core.files import write_atomic

REDIRECTS = (301, 302, 303, 307, 308)
ROBOTS_BYTES = 512_000         # of robots.txt; RFC 9309 asks for 500 KiB at least


class Limits(NamedTuple):
    """What a crawl may cost.

    agent:     how it calls itself, to servers and in robots.txt
    delay:     least seconds between two requests to a host
    timeout:   most seconds of one fetch
    max_bytes: largest body
    redirects: most of them in a row
    private:   whether addresses that are not public are called; for tests on loopback alone
    """

    agent: str = "ssljax-crawl"
    delay: float = 1.0
    timeout: float = 20.0
    max_bytes: int = 16 << 20
    redirects: int = 5
    private: bool = False


class Outcome(NamedTuple):
    """What became of a URL: "fetched" with a status, or the reason why not, one word."""

    url: str
    reason: str
    detail: str


class Refused(Exception):  # noqa: N818 - an outcome of a URL, not a failure of the crawl
    """A URL is not fetched; `reason` is one word."""

    def __init__(self, reason: str, detail: object):
        super().__init__(str(detail))
        self.reason = reason


class Reply(NamedTuple):
    """A response: status, header block as bytes, headers, body."""

    status: int
    head: bytes
    headers: http.client.HTTPMessage
    body: bytes


def crawl(urls: Iterable[str], path: str, limits: Limits = Limits(),  # noqa: B008 - a constant
          sleep: Callable[[float], None] = time.sleep) -> list[Outcome]:
    """Fetch URLs in order and write their responses to `path`, all at once at the end.

    Args:
        urls: http or https; their fragments are not sent.
        path: a new .warc.gz file.
        limits: what the crawl may cost.
        sleep: waits some seconds.

    Raises:
        MissingExtraError: fastwarc or protego is not installed.
    """
    polite = Politeness(limits, sleep)
    buffer = io.BytesIO()
    outcomes = []
    for url in urls:
        try:
            final, reply = follow(url, polite, limits)
            write_response(buffer, final, reply)
            outcomes.append(Outcome(url, "fetched", f"{reply.status} {final}"))
        except Refused as refused:
            outcomes.append(Outcome(url, refused.reason, str(refused)[:300]))
    write_atomic(pathlib.Path(path), buffer.getvalue())
    return outcomes


class Politeness:
    """What hosts asked of visitors, and when each was last visited."""

    def __init__(self, limits: Limits, sleep: Callable[[float], None]):
        """Know no host yet."""
        self.limits, self.sleep = limits, sleep
        self.rules: dict[str, tuple[Callable[[str], bool], float]] = {}
        self.last: dict[str, float] = {}

    def ask(self, url: str) -> None:
        """Wait for the host's turn; raise Refused("robots") where it does not want visits."""
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        if site not in self.rules:
            self.wait(site, self.limits.delay)
            self.rules[site] = read_robots(site, self.limits)
        allowed, delay = self.rules[site]
        if not allowed(url):
            raise Refused("robots", f"{site}/robots.txt forbids it")
        self.wait(site, max(self.limits.delay, delay))

    def wait(self, site: str, delay: float) -> None:
        """Return once `delay` seconds have passed since the last request to a site."""
        due = self.last.get(site, -delay) + delay - time.monotonic()
        if site in self.last and due > 0:
            self.sleep(due)
        self.last[site] = time.monotonic()


def read_robots(site: str, limits: Limits) -> tuple[Callable[[str], bool], float]:
    """Return what says whether a URL may be visited, and the pause the site asks for, seconds."""
    with needed("protego", "curate"):
        from protego import Protego
    url = f"{site}/robots.txt"
    try:
        for _ in range(limits.redirects + 1):
            reply = fetch(url, limits._replace(max_bytes=ROBOTS_BYTES))
            if reply.status not in REDIRECTS:
                break
            url = urljoin(url, reply.headers.get("location", ""))
    except Refused as refused:
        if refused.reason in ("private_address", "bad_url"):
            raise
        return lambda url: False, 0.0
    if reply.status != 200:
        return (lambda url: 400 <= reply.status < 500), 0.0
    rules = Protego.parse(reply.body.decode("utf-8", "replace"))
    return (lambda url: rules.can_fetch(url, limits.agent)), rules.crawl_delay(limits.agent) or 0.0


def follow(url: str, polite: Politeness, limits: Limits) -> tuple[str, Reply]:
    """Return the last URL of a chain of redirects and its response; each is asked for anew."""
    for _ in range(limits.redirects + 1):
        check_url(url)
        polite.ask(url)
        reply = fetch(url, limits)
        target = reply.headers.get("location")
        if reply.status not in REDIRECTS or not target:
            return url, reply
        url = urljoin(url, target)
    raise Refused("redirects", f"more than {limits.redirects}, the last to {url}")


def check_url(url: str) -> None:
    """Raise Refused("bad_url") unless it is an http(s) URL with a host and no password."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        good = good and parts.port != 0 and url.isascii() and url.isprintable() and " " not in url
    except ValueError as err:
        raise Refused("bad_url", err) from err
    if not good:
        raise Refused("bad_url", f"{url[:200]!r} is no plain http or https URL")


def public_address(host: str, port: int, limits: Limits) -> str:
    """Return an address of a host; Refused("private_address") if any of its is not public."""
    try:
        found = [info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as err:
        raise Refused("no_address", err) from err
    for address in found:
        ip = ipaddress.ip_address(address.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if not limits.private and (not ip.is_global or ip.is_multicast):
            raise Refused("private_address", f"{host} is {address}")
    return found[0]


def fetch(url: str, limits: Limits) -> Reply:
    """Return the response to one GET, without following redirects.

    Raises:
        Refused: "private_address", "no_address", "timeout", "too_large", "unreachable", "bad_url".
    """
    check_url(url)
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = public_address(str(parts.hostname), port, limits)
    connection = http.client.HTTPConnection(str(parts.hostname), port, timeout=limits.timeout)
    deadline = time.monotonic() + limits.timeout
    try:
        connection.sock = socket.create_connection((address, port), limits.timeout)
        if parts.scheme == "https":
            connection.sock = ssl.create_default_context().wrap_socket(
                connection.sock, server_hostname=parts.hostname)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={
            "Host": parts.netloc, "User-Agent": limits.agent, "Accept-Encoding": "identity",
            "Connection": "close"})
        response = connection.getresponse()
        body = read_body(response, limits.max_bytes, deadline)
    except TimeoutError as err:
        raise Refused("timeout", f"over {limits.timeout} s") from err
    except (OSError, http.client.HTTPException) as err:
        raise Refused("unreachable", repr(err)) from err
    finally:
        connection.close()
    lines = [f"HTTP/1.1 {response.status} {response.reason}",
             *(f"{k}: {v}" for k, v in response.getheaders() if k.lower() != "transfer-encoding")]
    head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
    return Reply(response.status, head, response.headers, body)


def read_body(response: http.client.HTTPResponse, limit: int, deadline: float) -> bytes:
    """Return a body; Refused("too_large") over the limit, TimeoutError after the deadline."""
    pieces, size = [], 0
    # read1 returns what has come: a server that sends a byte a second meets the deadline.
    while piece := response.read1(1 << 16):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise Refused("too_large", f"over {limit} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(pieces)


def write_response(stream: io.BytesIO, url: str, reply: Reply) -> None:
    """Append a response as a compressed WARC record."""
    with needed("fastwarc", "curate"):
        from fastwarc.warc import WarcRecord, WarcRecordType
    content = reply.head + reply.body
    record = WarcRecord()
    record.init_headers(WarcRecordType.response)
    record.headers["WARC-Target-URI"] = url
    record.headers["Content-Type"] = "application/http; msgtype=response"
    record.set_bytes_content(content)
    plain = io.BytesIO()
    record.write(plain, checksum_data=True)
    stream.write(gzip.compress(plain.getvalue()))       # a member each, so that readers can seek
