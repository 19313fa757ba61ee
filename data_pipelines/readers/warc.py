"""WARC and WET files, one record a page, by fastwarc (https://github.com/chatnoir-eu/chatnoir-resiliparse).

Reads plain, gzip, lz4 and zstd archives; yields responses ("html" or their own type), resources
and WET conversions ("text"). Errors: "truncated" (the record is shorter than it says),
"bad_digest", "bad_warc" (no header where one should be: the rest of the file is lost), those of
http.py, and "too_large". Requests, metadata and revisits are passed over: they are no documents.
"""

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from data_pipelines.readers.http import parse_response
from data_pipelines.readers.opening import BUFFER, compression, name_of, opened
from data_pipelines.readers.record import MAX_BYTES, Raw, failed
from ssljax.core.errors import UnreadableRecordError

HASHES = {"sha1": hashlib.sha1, "sha256": hashlib.sha256, "md5": hashlib.md5}
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
TO_DIGITS = str.maketrans(BASE32, "0123456789ABCDEFGHIJKLMNOPQRSTUV")      # those of int(_, 32)
DOCUMENTS = WarcRecordType.response | WarcRecordType.resource | WarcRecordType.conversion


def read(source: str | Path | BinaryIO, *, max_bytes: int = MAX_BYTES,
         digests: bool = True) -> Iterator[Raw]:
    """Yield the documents of an archive; `digests` compares the checksums that records carry."""
    name, row = name_of(source), 0
    offset, sound = 0, True
    try:
        with opened(source) as file:
            start = file.tell()
            for record in ArchiveIterator(file, record_types=DOCUMENTS, parse_http=False):
                offset = record.stream_pos
                found = document(record, name, row, max_bytes, digests)
                sound, row = not found.error, row + 1
                yield found
            if sound and is_cut(file, start, offset, row):
                yield failed(name, row, offset, "truncated", "the file ends within a record")
    except (OSError, ValueError, EOFError, zlib.error) as err:
        yield failed(name, row, offset, "bad_warc", err)


def is_cut(file: BinaryIO, start: int, offset: int, rows: int) -> bool:
    """Say whether an archive ends where the reader says nothing: in a gzip member, or a header.

    Args:
        file: the archive, read to its end.
        start: where it begins in the file.
        offset: of the last document.
        rows: documents it had.
    """
    file.seek(start + offset)
    packed = compression(file.read(4)) == "gzip"
    file.seek(start + offset)
    return packed and not ends_whole(file) or not rows and is_empty(file, start)


def ends_whole(file: BinaryIO) -> bool:
    """Say whether the last gzip member of a file ends before the file does."""
    member, data, begun = zlib.decompressobj(31), b"", False
    while data := data or file.read(BUFFER):
        begun = True
        member.decompress(data, BUFFER)          # a megabyte may hold a gigabyte
        data = member.unconsumed_tail
        if member.eof:
            data, begun = member.unused_data.lstrip(b"\0"), False
            member = zlib.decompressobj(31)
    if begun:
        member.flush()
    return not begun or member.eof


def is_empty(file: BinaryIO, start: int) -> bool:
    """Say whether an archive has bytes and no record of any type."""
    file.seek(start)
    records = ArchiveIterator(file, record_types=WarcRecordType.any_type, parse_http=False)
    if any("Content-Length" in record.headers for record in records):
        return False
    file.seek(start)
    return bool(file.read(1))


def document(record: WarcRecord, name: str, row: int, limit: int, digests: bool) -> Raw:
    """Return one record, or what is wrong with it."""
    headers, offset = record.headers, record.stream_pos
    fields: dict[str, Any] = {"url": headers.get("WARC-Target-URI", "").strip("<>"),
                              "date": headers.get("WARC-Date", "")}
    promised = record.content_length
    try:
        if "Content-Length" not in headers:
            raise UnreadableRecordError("its header is cut", "truncated")
        if promised > limit:
            raise UnreadableRecordError(f"{promised:,} bytes; at most {limit:,}", "too_large")
        block = record.reader.read()
        if len(block) < promised:
            raise UnreadableRecordError(f"{len(block):,} of {promised:,} bytes", "truncated")
        if digests:
            compare(headers.get("WARC-Block-Digest", ""), block)
        if not record.is_http:
            kind = "text" if record.record_type == WarcRecordType.conversion else declared(
                headers.get("Content-Type", ""))
            return Raw(name, row, offset, block, kind, fields)
        if digests:
            compare(headers.get("WARC-Payload-Digest", ""), block.partition(b"\r\n\r\n")[2])
        response = parse_response(block, limit)
        kind = response.headers.get("content-type", "")
        return Raw(name, row, offset, response.body, declared(kind),
                   {**fields, "status": response.status, "content_type": kind})
    except UnreadableRecordError as err:
        return failed(name, row, offset, err.reason, err, fields)
    except (OSError, ValueError) as err:
        return failed(name, row, offset, "truncated", err, fields)


def declared(content_type: str) -> str:
    """Return the kind that a Content-Type names."""
    mime = content_type.partition(";")[0].strip().lower()
    if mime in ("text/html", "application/xhtml+xml"):
        return "html"
    return "text" if mime == "text/plain" else mime.partition("/")[0] if mime.startswith(
        ("image/", "audio/")) else "pdf" if mime == "application/pdf" else mime or "binary"


def compare(digest: str, data: bytes) -> None:
    """Raise UnreadableRecordError "bad_digest" unless `data` have the digest, if it is one we know.

    Written as sha1:BASE32 (WARC 1.1 §5.8), by some crawlers in hexadecimal.
    """
    algorithm, _, wanted = digest.partition(":")
    if algorithm.lower() not in HASHES:
        return
    found = HASHES[algorithm.lower()](data, usedforsecurity=False).digest()
    if found not in (from_base32(wanted, len(found)), from_base16(wanted)):
        raise UnreadableRecordError(f"{digest} is not that of the {len(data):,} bytes here",
                                    "bad_digest")


def from_base32(text: str, size: int) -> bytes:
    """Return the `size` bytes that a text spells in base32, b"" where it spells no such thing.

    Through a number: the standard library's codec takes 40 us, as long as hashing the record.
    """
    digits = text.rstrip("=").upper()
    spare = len(digits) * 5 - size * 8
    if not 0 <= spare < 5 or digits.strip(BASE32):
        return b""
    return (int(digits.translate(TO_DIGITS), 32) >> spare).to_bytes(size, "big")


def from_base16(text: str) -> bytes:
    """Return the bytes that a text spells in hexadecimal, b"" where it is none."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
