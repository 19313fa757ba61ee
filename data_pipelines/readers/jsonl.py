"""JSON lines: one object a line, as bytes that are parsed where the text is needed.

Reads plain and gzip files in bounded memory. Errors: "too_large" (a line beyond the limit is
read past, never held), "bad_json", "unreadable" (the rest of a broken gzip file is lost).
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from data_pipelines.readers.opening import BUFFER, name_of, opened, unpacked
from data_pipelines.readers.record import MAX_BYTES, Raw, failed


def read(source: str | Path | BinaryIO, *, max_bytes: int = MAX_BYTES) -> Iterator[Raw]:
    """Yield the objects of a file; `row` is the line's number, blank lines counted."""
    name, row, offset = name_of(source), -1, 0
    try:
        with opened(source) as packed:
            for row, (offset, line) in enumerate(lines(unpacked(packed), max_bytes)):
                if len(line) > max_bytes:
                    yield failed(name, row, offset, "too_large", f"a line over {max_bytes:,} bytes")
                elif line.strip():
                    yield parse(name, row, offset, line)
    except (OSError, EOFError, zlib.error) as err:
        yield failed(name, row + 1, offset, "unreadable", getattr(err, "strerror", None) or err)


def lines(file: BinaryIO, limit: int) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line); of one over `limit` bytes only its beginning, the rest read past."""
    offset = 0
    while line := file.readline(limit + 1):
        start, offset = offset, offset + len(line)
        piece = line
        while len(line) > limit and piece and not piece.endswith(b"\n"):
            piece = file.readline(min(limit + 1, BUFFER))
            offset += len(piece)
        yield start, line


def parse(name: str, row: int, offset: int, line: bytes) -> Raw:
    """Return the record of one line."""
    try:
        fields: Any = json.loads(line)
    except (ValueError, RecursionError) as err:
        return failed(name, row, offset, "bad_json", err)
    if not isinstance(fields, dict):
        return failed(name, row, offset, "bad_json", "expected an object")
    return Raw(name, row, offset, fields, "row")
