"""Opens local paths and URLs, and tells a format by its first bytes, since names lie.

Local paths are opened directly; what has "://" goes through fsspec
(https://filesystem-spec.readthedocs.io), whose cloud file systems are packages of their own.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO

HEAD = 4096               # bytes that decide
BUFFER = 1 << 20          # bytes read ahead; with 8 KB a line of a gigabyte took thrice the time
MAGIC = (
    (b"WARC/", "warc"), (b"filedesc://", "arc"), (b"%PDF-", "pdf"), (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"), (b"\xff\xff\xff\xff", "arrow"), (b"SQLite format 3\0", "sqlite"),
    (b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"), (b"\x89PNG\r\n", "image"),
    (b"\xff\xd8\xff", "image"), (b"GIF8", "image"), (b"BM", "image"), (b"II*\0", "image"),
    (b"MM\0*", "image"), (b"fLaC", "audio"), (b"OggS", "audio"), (b"ID3", "audio"),
    (b"\xff\xfb", "audio"), (b"\xff\xf3", "audio"))
PACKED = {b"\x1f\x8b": "gzip", b"\x04\x22\x4d\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstd"}
BY_NAME = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".md": "markdown",
           ".html": "html", ".htm": "html", ".zst": "zstd", ".lz4": "lz4"}


@contextmanager
def opened(source: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """Yield a seekable binary file; one that was handed in stays open.

    Raises:
        OSError: it cannot be opened, or is a pipe, a socket or a device, which might never end.
    """
    if hasattr(source, "read"):
        yield source
        return
    if "://" in str(source):
        import fsspec  # 40 ms to import, and local files have no need of it
        with fsspec.open(str(source), "rb") as file:
            yield file
        return
    path = Path(source)
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is not a regular file")
    with path.open("rb", buffering=BUFFER) as file:
        yield file


def name_of(source: str | Path | BinaryIO) -> str:
    """Return what a source is called in records."""
    return str(getattr(source, "name", "stream")) if hasattr(source, "read") else str(source)


def compression(head: bytes) -> str:
    """Return "gzip", "lz4", "zstd" or ""."""
    return next((name for magic, name in PACKED.items() if head.startswith(magic)), "")


def sniff(head: bytes, name: str = "") -> str:
    """Return the format of what begins with `head`; its name decides between kinds of text.

    Compressed bytes are looked into where they are gzip; lz4 and zstd are taken for WARC, the one
    format here that comes in them.
    """
    packed = compression(head)
    if packed:
        plain = unpack_head(head) if packed == "gzip" else b"WARC/"
        return sniff(plain, name.lower().removesuffix(".gz"))
    kind = next((kind for magic, kind in MAGIC if head.startswith(magic)), "")
    if kind:
        return kind
    if head[257:262] == b"ustar":
        return "tar"
    if head[:4] == b"RIFF":
        return "image" if head[8:12] == b"WEBP" else "audio"
    return sniff_text(head, name)


def sniff_text(head: bytes, name: str) -> str:
    """Return which kind of text begins with `head`, "binary" where NUL bytes say it is none."""
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in head and not wide:
        return "binary"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "html"
    named = BY_NAME.get(PurePath(name).suffix.lower(), "")
    if not named and start.startswith(b'{"'):
        return "jsonl"
    return named or "text"


def unpack_head(head: bytes) -> bytes:
    """Return the first bytes inside gzip, none where it is broken."""
    try:
        return zlib.decompressobj(31).decompress(head, HEAD)
    except zlib.error:
        return b""


def unpacked(file: BinaryIO) -> BinaryIO:
    """Return a file that reads the uncompressed bytes of a gzip file, or the file itself."""
    start = file.tell()
    packed = compression(file.read(4)) == "gzip"
    file.seek(start)
    return gzip.GzipFile(fileobj=file) if packed else file
