"""WARC, ARC and WET: real samples, sound and broken, and every record accounted for."""

import base64
import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from data_pipelines.readers import any_format, arc, warc
from data_pipelines.readers.http import dechunk, parse_response
from data_pipelines.readers.record import count_errors
from ssljax.core.errors import UnreadableRecordError

SAMPLES = Path(__file__).parents[4] / "shared/data/web/warc_samples.zip"


def sample(name):
    if not SAMPLES.is_file():
        pytest.skip("the WARC samples are not beside this checkout")
    with zipfile.ZipFile(SAMPLES) as archive:
        file = io.BytesIO(archive.read(name))
    file.name = name
    return file


def record(block, digest="", length=None):
    head = (f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a/\r\n{digest}"
            f"Content-Type: application/http; msgtype=response\r\n"
            f"Content-Length: {length or len(block)}\r\n\r\n")
    return head.encode() + block + b"\r\n\r\n"


PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>page</p>"


@pytest.mark.parametrize("name, counts", [
    ("resiliparse/warcfile.warc", {"": 16}), ("resiliparse/warcfile.warc.gz", {"": 16}),
    ("resiliparse/warcfile.warc.lz4", {"": 16}), ("resiliparse/clipped.warc.gz", {"truncated": 1}),
    ("whirlwind-python/whirlwind.warc.wet.gz", {"": 1}), ("warcio/example.arc.gz", {"": 1}),
    ("warcio/example-trunc.warc", {"bad_digest": 1, "bad_warc": 1}),
    ("warcio/bad.arc", {"bad_arc": 1}), ("warcio/example-space-in-url.arc", {"truncated": 1}),
    ("warcio/example-wrong-chunks.warc.gz", {"bad_digest": 1}),
    ("warcio/example-iana.org-chunked.warc", {"": 1})])
def test_samples_are_read_or_counted_by_reason(name, counts):
    assert count_errors(any_format.read(sample(name))) == counts


def test_compression_changes_no_record():
    plain, *packed = [[r.payload for r in warc.read(sample(f"resiliparse/warcfile.warc{end}"))]
                      for end in ("", ".gz", ".lz4")]
    assert packed == [plain, plain] and all(b"<" in page for page in plain)


def test_an_offset_leads_back_to_its_record():
    file = sample("resiliparse/warcfile.warc.gz")
    for found in warc.read(file):
        part = gzip.GzipFile(fileobj=io.BytesIO(file.getvalue()[found.offset:])).read(2000)
        assert part.startswith(b"WARC/1") and found.fields["url"].encode() in part


def test_a_record_tells_its_type_and_a_wrong_digest_is_an_error():
    good = list(warc.read(io.BytesIO(record(PAGE))))[0]
    assert (good.payload, good.kind, good.fields["url"]) == (b"<p>page</p>", "html", "http://a/")
    bad = record(PAGE, "WARC-Block-Digest: sha1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n")
    found = list(warc.read(io.BytesIO(bad + record(PAGE))))
    assert [r.error for r in found] == ["bad_digest", ""]
    assert [r.error for r in warc.read(io.BytesIO(bad), digests=False)] == [""]


def test_a_record_over_the_limit_is_passed_over():
    stream = io.BytesIO(record(PAGE + b"x" * 5000) + record(PAGE))
    assert [r.error for r in warc.read(stream, max_bytes=1000)] == ["too_large", ""]


def test_a_page_that_unpacks_to_a_bomb_is_stopped():
    bomb = PAGE.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n").replace(
        b"<p>page</p>", gzip.compress(b"0" * 10_000_000))
    with pytest.raises(UnreadableRecordError, match="more than") as caught:
        parse_response(bomb, 1_000_000)
    assert caught.value.reason == "too_large"


def test_chunks_are_joined_and_cut_ones_are_an_error():
    assert dechunk(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n") == b"abcde"
    assert dechunk(b"<p>stored decoded</p>") == b"<p>stored decoded</p>"
    for broken in (b"3\r\nabc\r\nff\r\nde", b"3\r\nabc\r\nzz\r\nde"):
        with pytest.raises(UnreadableRecordError):
            dechunk(broken)


def test_an_archive_cut_anywhere_is_records_and_errors():
    whole = sample("warcio/example.arc").getvalue()
    for end in range(0, len(whole), 97):
        assert len(list(arc.read(io.BytesIO(whole[:end])))) <= 2


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256"])
def test_digests_are_read_in_both_spellings(name):
    found = hashlib.new(name, b"data").digest()
    base32 = base64.b32encode(found).decode()
    for text in (base32, base32.rstrip("="), base32.lower()):
        assert warc.from_base32(text, len(found)) == found
    assert warc.from_base16(found.hex()) == found
    for text in ("", "1" * len(base32), base32[:-9], found.hex(), "é" * len(base32)):
        assert warc.from_base32(text, len(found)) == b"" != found
    assert warc.from_base16(base32.lower()[:9] + "x") == b""


@pytest.mark.parametrize("data, errors", [
    (lambda one: one, [""]), (lambda one: one + one[:30], ["", "truncated"]),
    (lambda one: one[:20], ["truncated"]), (lambda one: b"WARC/1.0\r\nrubbish", ["truncated"]),
    (lambda one: one + b"rubbish" * 20, ["", "bad_warc"]), (lambda one: b"", []),
    (lambda one: one.replace(b"response\r", b"metadata\r"), []),
    (lambda one: gzip.compress(one), [""]),
    (lambda one: gzip.compress(one) + gzip.compress(one)[:15], ["", "truncated"]),
    (lambda one: gzip.compress(one)[:30], ["truncated"]),
    (lambda one: gzip.compress(one) + gzip.compress(one[:30]), ["", "truncated"]),
    (lambda one: gzip.compress(one + one), ["", ""])])
def test_an_archive_that_ends_anywhere_says_so(data, errors):
    file = io.BytesIO(data(record(PAGE)))
    file.name = "made.warc"
    assert [r.error for r in warc.read(file)] == errors
