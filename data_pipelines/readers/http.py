"""An archived HTTP response taken apart: headers, chunks and compression undone within limits.

RFC 9112 (https://www.rfc-editor.org/rfc/rfc9112). Reads the block of a WARC record; returns the
body. Crawlers often store the decoded body under the old headers: chunks that are not there are
then no error, while a chunk that promises more than follows is.
"""

import zlib
from typing import NamedTuple

from ssljax.core.errors import UnreadableRecordError


class Response(NamedTuple):
    """Status, headers with lower-case names, body."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse_response(block: bytes, limit: int) -> Response:
    """Return the response of a block; `limit` is the most bytes of the decoded body.

    Raises:
        UnreadableRecordError: "bad_http", "wrong_chunks", "bad_encoding", "too_large".
    """
    head, found, body = block.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    status = lines[0].split(" ", 2)
    if not found or not status[0].startswith("HTTP/") or not status[1:2]:
        raise UnreadableRecordError(f"no HTTP header in {block[:40]!r}", "bad_http")
    pairs = (line.partition(":") for line in lines[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = dechunk(body)
    for coding in reversed(headers.get("content-encoding", "").lower().split(",")):
        body = decompress(body, coding.strip(), limit)
    code = int(status[1]) if status[1].isdigit() else 0
    return Response(code, headers, body)


def dechunk(body: bytes) -> bytes:
    """Return the body of chunks, or the body as it is where it does not begin with a chunk."""
    pieces, at = [], 0
    while at < len(body):
        end = body.find(b"\r\n", at, at + 64)
        size = body[at:end].split(b";")[0].strip() if end >= 0 else b""
        if not size or size.strip(b"0123456789abcdefABCDEF"):
            if not pieces:
                return body             # stored decoded under the old header
            raise UnreadableRecordError(f"no chunk size at byte {at} of the body", "wrong_chunks")
        length = int(size, 16)
        if not length:
            break
        at = end + 2 + length
        if at > len(body):
            raise UnreadableRecordError(f"a chunk of {length} bytes is cut", "wrong_chunks")
        pieces.append(body[end + 2:at])
        at += 2
    return b"".join(pieces)


def decompress(body: bytes, coding: str, limit: int) -> bytes:
    """Return the body with one coding undone; a body stored decoded stays."""
    if coding in ("gzip", "x-gzip") and body[:2] == b"\x1f\x8b":
        return inflate(body, 31, limit)
    if coding == "deflate" and body:
        return inflate(body, 15 if body[0] & 15 == 8 else -15, limit)
    if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise UnreadableRecordError(f"content-encoding {coding}", "bad_encoding")
    return body


def inflate(data: bytes, window: int, limit: int) -> bytes:
    """Return what zlib's data hold.

    Raises:
        UnreadableRecordError: "bad_encoding"; "too_large" where it is more than `limit` bytes.
    """
    unpack = zlib.decompressobj(window)
    try:
        plain = unpack.decompress(data, limit + 1)
    except zlib.error as err:
        raise UnreadableRecordError(str(err), "bad_encoding") from err
    if len(plain) > limit:
        raise UnreadableRecordError(f"{len(data):,} bytes hold more than {limit:,}", "too_large")
    if not unpack.eof:
        raise UnreadableRecordError("compressed body is cut", "bad_encoding")
    return plain
