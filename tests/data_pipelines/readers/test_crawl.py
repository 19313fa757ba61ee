"""The crawler on loopback: robots.txt, pauses, limits and redirects hold, and nothing leaks in."""

import http.server
import threading
import time

import pytest

from data_pipelines.readers import crawl
from data_pipelines.readers.crawl import Limits

fastwarc = pytest.importorskip("fastwarc.warc")
pytest.importorskip("protego")
PAGES = {"/robots.txt": b"User-agent: *\nDisallow: /secret\nCrawl-delay: 3\n", "/a": b"<p>a</p>",
         "/secret/b": b"no", "/large": b"x" * 5000}


class Site(http.server.BaseHTTPRequestHandler):
    """Serves PAGES; /to?URL redirects, /slow drips."""

    asked: list[str] = []

    def do_GET(self):  # noqa: N802
        self.asked.append(self.path)
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.end_headers()
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(20):
                self.wfile.write(b".")
                time.sleep(0.05)
        else:
            self.send_response(200 if self.path in PAGES else 404)
            self.end_headers()
            self.wfile.write(PAGES.get(self.path, b"none"))

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Site.asked = []
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def run(urls, path, **limits):
    waits = []
    found = crawl.crawl(urls, str(path), Limits(**{"private": True, **limits}), waits.append)
    return [o.reason for o in found], waits


def test_pages_become_records_that_a_warc_reader_reads(site, tmp_path):
    path = tmp_path / "c.warc.gz"
    reasons, waits = run([f"{site}/a", f"{site}/secret/b", f"{site}/gone", f"{site}/to?/a"], path)
    assert reasons == ["fetched", "robots", "fetched", "fetched"]
    assert "/secret/b" not in Site.asked and Site.asked.count("/robots.txt") == 1
    assert len(waits) >= 3 and max(waits) == pytest.approx(3, abs=0.5)      # the site's own pause
    with path.open("rb") as stream:
        records = [(r.headers["WARC-Target-URI"], r.http_headers.status_code, r.reader.read())
                   for r in fastwarc.ArchiveIterator(stream, verify_digests=True)]
    assert records == [(f"{site}/a", 200, b"<p>a</p>"), (f"{site}/gone", 404, b"none"),
                       (f"{site}/a", 200, b"<p>a</p>")]


def test_size_time_and_redirects_are_bounded(site, tmp_path):
    reasons, _ = run([f"{site}/large", f"{site}/slow", f"{site}/to?/to?/to?/a"],
                     tmp_path / "c.warc.gz", max_bytes=1000, timeout=0.3, redirects=2)
    assert reasons == ["too_large", "timeout", "redirects"]


def test_private_addresses_are_refused_before_anything_is_sent(site, tmp_path):
    urls = [f"{site}/a", "http://localhost/", "http://169.254.169.254/latest", "http://10.0.0.1/",
            "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://0.0.0.0/", "http://2130706433/"]
    reasons, _ = run(urls, tmp_path / "c.warc.gz", private=False)
    assert reasons == ["private_address"] * len(urls) and Site.asked == []


def test_a_redirect_or_a_name_into_the_private_network_is_refused(site, monkeypatch):
    reply = crawl.fetch(f"{site}/to?http://127.0.0.1/", Limits(private=True))
    replies = {"http://public.example/": reply}
    monkeypatch.setattr(crawl, "read_robots", lambda site, limits: (lambda url: True, 0.0))
    real = crawl.fetch
    monkeypatch.setattr(crawl, "fetch",
                        lambda url, limits: replies.get(url) or real(url, limits))
    limits = Limits()
    with pytest.raises(crawl.Refused) as refused:
        crawl.follow("http://public.example/", crawl.Politeness(limits, lambda s: None), limits)
    assert refused.value.reason == "private_address"
    monkeypatch.setattr(crawl.socket, "getaddrinfo", lambda *a, **k: [
        (2, 1, 6, "", ("93.184.216.34", 80)), (2, 1, 6, "", ("192.168.0.1", 80))])
    with pytest.raises(crawl.Refused, match=r"192\.168\.0\.1"):
        crawl.public_address("rebinding.example", 80, limits)


@pytest.mark.parametrize("url", ["ftp://a.org/", "file:///etc/passwd", "http://u:p@a.org/",
                                 "http:///x", "http://a.org/\r\nHost: b", "http://[::1", ""])
def test_what_is_no_plain_url_is_refused(tmp_path, url):
    assert run([url], tmp_path / "c.warc.gz")[0] == ["bad_url"]


def test_an_unreachable_robots_file_means_no_visit(tmp_path):
    assert run(["http://127.0.0.1:9/"], tmp_path / "c.warc.gz")[0] == ["robots"]
