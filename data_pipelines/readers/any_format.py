"""Any file or folder, read by what it is: the one entry that steps call.

PDF files are handed on as bytes of kind "pdf": their text is taken where limits hold.
"""

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from data_pipelines.readers import arc, archives, columns, jsonl, warc, whole
from data_pipelines.readers.opening import HEAD, name_of, opened, sniff
from data_pipelines.readers.record import MAX_BYTES, Raw, failed

Reader = Callable[..., Iterator[Raw]]


def read(source: str | Path | BinaryIO, *, max_bytes: int = MAX_BYTES) -> Iterator[Raw]:
    """Yield the records of a file, URL or open file, whatever its format."""
    try:
        with opened(source) as file:
            start = file.tell()
            kind = sniff(file.read(HEAD), name_of(source))
            file.seek(start)
            yield from read_as(kind, file if hasattr(source, "read") else source, max_bytes)
    except (OSError, EOFError, zlib.error) as err:
        yield failed(name_of(source), 0, 0, "unreadable", getattr(err, "strerror", None) or err)


def read_as(kind: str, source: str | Path | BinaryIO, max_bytes: int) -> Iterator[Raw]:
    """Yield the records of a file of a known kind."""
    sized: dict[str, Reader] = {"warc": warc.read, "arc": arc.read,
                                "jsonl": jsonl.read}
    if kind in sized:
        return sized[kind](source, max_bytes=max_bytes)
    if kind in ("parquet", "arrow", "csv"):
        return columns.read(source, kind=kind)
    if kind in ("zip", "tar"):
        def member(file: BinaryIO) -> Iterator[Raw]:
            return read(file, max_bytes=max_bytes)
        return archives.read(source, kind=kind, read_member=member, max_bytes=max_bytes)
    return whole.read(source, max_bytes=max_bytes)


def read_folder(folder: str | Path, *, max_bytes: int = MAX_BYTES) -> Iterator[Raw]:
    """Yield the records of all files below a folder in order of path, hidden ones left out."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(f for f in files if not f.startswith(".")):
            yield from read(Path(where, name), max_bytes=max_bytes)
