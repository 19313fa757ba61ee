"""ARC files, the Internet Archive's format before WARC.

https://archive.org/web/researcher/ArcFileFormat.php: a line "URL IP date type length" before each
document of that many bytes. Reads plain and gzip files; offsets are in the uncompressed file.
Errors: "bad_arc" (no such line: the rest of the file is lost), "truncated", those of http.py.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from data_pipelines.readers.http import parse_response
from data_pipelines.readers.opening import name_of, opened, unpacked
from data_pipelines.readers.record import MAX_BYTES, Raw, failed
from data_pipelines.readers.warc import declared
from ssljax.core.errors import UnreadableRecordError

LONGEST_HEADER = 16_384   # bytes


def read(source: str | Path | BinaryIO, *, max_bytes: int = MAX_BYTES) -> Iterator[Raw]:
    """Yield the documents of an archive."""
    name, row, offset = name_of(source), 0, 0
    try:
        with opened(source) as packed:
            file = unpacked(packed)
            while line := file.readline(LONGEST_HEADER):
                start, offset = offset, offset + len(line)
                if not line.strip():
                    continue
                # URLs may have spaces; the other four fields have none.
                url, _, date, kind, length = line.decode("latin-1").strip().rsplit(" ", 4)
                if not length.isdigit():        # -1 would read the whole file
                    raise ValueError(f"length {length!r} of {url[:200]}")
                block = file.read(min(int(length), max_bytes))
                offset += len(block)
                if not url.startswith("filedesc:"):
                    yield document(name, row, start, url, date, kind, int(length), block, max_bytes)
                    row += 1
                if int(length) > max_bytes:
                    offset += skip(file, int(length) - max_bytes)
    except ValueError as err:
        yield failed(name, row, offset, "bad_arc", err)
    except (OSError, EOFError, zlib.error) as err:
        yield failed(name, row, offset, "truncated", err)


def document(name: str, row: int, offset: int, url: str, date: str, kind: str, length: int,
             block: bytes, limit: int) -> Raw:
    """Return one record, or what is wrong with it."""
    fields = {"url": url, "date": date}
    if length > limit:
        return failed(name, row, offset, "too_large", f"{length:,} bytes", fields)
    if len(block) < length:
        return failed(name, row, offset, "truncated", f"{len(block)} of {length} bytes", fields)
    if not block.startswith(b"HTTP/"):
        return Raw(name, row, offset, block, declared(kind), fields)
    try:
        response = parse_response(block, limit)
    except UnreadableRecordError as err:
        return failed(name, row, offset, err.reason, err, fields)
    content_type = response.headers.get("content-type", kind)
    return Raw(name, row, offset, response.body, declared(content_type),
               {**fields, "status": response.status, "content_type": content_type})


def skip(file: BinaryIO, count: int) -> int:
    """Read past `count` bytes a megabyte at a time; return how many there were."""
    left = count
    while left and (piece := file.read(min(left, 1 << 20))):
        left -= len(piece)
    return count - left
