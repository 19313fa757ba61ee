"""Listed files become documents: a file is one, a line of a .jsonl file is one.

Reads text, Markdown, source code, .html and .jsonl, and each with .gz; UTF-8 only. Records of .warc
.arc .wet .pdf .parquet .arrow .csv .zip and .tar are documents too, their pages reduced to articles
in a child process with limits (data_pipelines/raw_rows.py lists those reasons). What cannot be read
is a dropped row, never an error: "unreadable" (no permission, not a file, broken gzip),
"too_large", "not_text" (NUL bytes, not UTF-8), "bad_html", "bad_json". The input is a folder or a
URL of one. Returns tables of documents.
"""

import functools
import gzip
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from data_pipelines.html_text import html_text
from data_pipelines.limits import Child, Limits
from data_pipelines.listing import CRAWLED, Listing, inside, list_files, suffix
from data_pipelines.readers.jsonl import lines
from data_pipelines.readers.opening import opened
from data_pipelines.readers.record import MAX_BYTES
from data_pipelines.source import Source
from data_pipelines.table import column, documents

ROWWISE = True

Row = dict[str, Any]
PIECE, PIECE_ROWS = 4 << 20, 4096      # characters and rows held as Python objects


def make(*, input: str, licence: str = "unknown", page_seconds: float = 5.0,
         page_bytes: int = 1 << 30) -> Source:
    """Return the source.

    Args:
        input: folder, or URL of one.
        licence: of the documents; a .jsonl row's own "licence" or "license" goes before it.
        page_seconds: of CPU that the extraction of one page may take.
        page_bytes: of memory that it may take.
    """
    limits = Limits(page_seconds, page_bytes)

    def read(files: pa.Table) -> Iterator[pa.Table]:
        groups = itertools.groupby(column(files, "source"), is_crawled)
        children: list[Child] = []
        try:
            yield from tables({"licence": licence, **row} for crawled, sources in groups
                              for row in (read_crawled(input, list(sources), limits, children)
                                          if crawled else read_plain(input, sources)))
        finally:
            for child in children:
                child.stop()

    return Source(functools.partial(list_input, input), read)


def list_input(folder: str, without: Sequence[str]) -> Listing:
    """Return the files that are there."""
    return list_files(folder, without=without)


def tables(rows: Iterable[Row]) -> Iterator[pa.Table]:
    """Yield rows as tables of documents of bounded size, one at least."""
    waiting: list[Row] = []
    size = made = 0
    for row in rows:
        waiting.append(row)
        size += len(row["text"])
        if size >= PIECE or len(waiting) >= PIECE_ROWS:
            yield documents(waiting)
            waiting, size, made = [], 0, made + 1
    if waiting or not made:
        yield documents(waiting)


def is_crawled(source: str) -> bool:
    """Return whether a file's records are read by data_pipelines/readers."""
    return suffix(PurePath(source)) in CRAWLED


def read_crawled(folder: str, sources: list[str], limits: Limits,
                 kept: list[Child]) -> Iterator[Row]:
    """Yield the rows of archives, tables and PDF files; one child process, `kept`, serves all."""
    # Imported here: lxml, fastwarc and Parquet cost a second that plain files need not spend.
    from data_pipelines.raw_rows import raw_rows
    from data_pipelines.readers import any_format
    records = (record._replace(source=named(record.source, source)) for source in sources
               for record in any_format.read(inside(folder, source)))
    yield from raw_rows(records, limits=limits, kept=kept)


def named(found: str, source: str) -> str:
    """Return a record's source below the input: the file, and the member of an archive."""
    return "!".join([source, *found.split("!")[1:]])


def read_plain(folder: str, sources: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of text, HTML and JSON lines."""
    for source in sources:
        yield from read_file(folder, source)


def read_file(folder: str, source: str) -> Iterator[Row]:
    """Yield the rows of one file; nothing of it over MAX_BYTES is held."""
    kind, number, offset = suffix(PurePath(source)), -1, 0
    try:
        with opened(inside(folder, source)) as packed:
            file = gzip.GzipFile(fileobj=packed) if source.lower().endswith(".gz") else packed
            if kind not in (".jsonl", ".ndjson"):
                yield text_row(source, 0, file.read(MAX_BYTES + 1), kind) | {"offset": 0}
                return
            for number, (offset, line) in enumerate(lines(file, MAX_BYTES)):
                if line.strip():
                    yield json_row(source, number, line) | {"offset": offset}
    except (OSError, EOFError, zlib.error) as err:
        yield bad(source, number + 1, "unreadable", getattr(err, "strerror", None) or str(err))


def text_row(source: str, row: int, data: bytes, kind: str) -> Row:
    """Return the row of a file's content."""
    if len(data) > MAX_BYTES:
        return bad(source, row, "too_large", f"over {MAX_BYTES:,} bytes")
    if b"\0" in data:
        return bad(source, row, "not_text", f"NUL at byte {data.index(0)}")
    try:
        text = data.decode()
        text = html_text(text) if kind in (".html", ".htm") else text
        return {"source": source, "row": row, "text": text}
    except UnicodeDecodeError as err:
        return bad(source, row, "not_text", f"not UTF-8 at byte {err.start}")
    except ValueError as err:
        return bad(source, row, "bad_html", str(err))


def json_row(source: str, row: int, line: bytes) -> Row:
    """Return the row of one line of a .jsonl file, whose object has a "text"."""
    if len(line) > MAX_BYTES:
        return bad(source, row, "too_large", f"a line over {MAX_BYTES:,} bytes")
    try:
        fields = json.loads(line)
        text = fields["text"]
        text.encode()
    except UnicodeError as err:
        return bad(source, row, "not_text", f"{err.reason} at {err.start}")
    except (ValueError, RecursionError) as err:
        return bad(source, row, "bad_json", str(err))
    except (KeyError, TypeError, AttributeError):
        return bad(source, row, "bad_json", 'expected an object with a string "text"')
    own = {"licence": fields.get("licence") or fields.get("license"), "url": fields.get("url")}
    return {"source": source, "row": row, "text": text} | {
        name: value for name, value in own.items() if isinstance(value, str) and value}


def bad(source: str, row: int, reason: str, detail: str) -> Row:
    """Return a row that is dropped as it is read."""
    return {"source": source, "row": row, "text": "", "dropped": reason, "detail": detail}
