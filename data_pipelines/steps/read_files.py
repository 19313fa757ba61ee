"""Listed files become documents: a file is one, a line of a .jsonl file is one.

Reads .txt .md .rst .py .html and .jsonl, and each with .gz; UTF-8 only. Records of .warc .arc
.wet .pdf and .parquet are documents too, their pages reduced to articles in a child process with
limits (data_pipelines/raw_rows.py lists those reasons). What cannot be read is a dropped row,
never an error: "unreadable" (no permission, not a file, broken gzip), "not_text" (NUL bytes, not
UTF-8), "bad_html", "bad_json". Returns the table of documents.
"""

import gzip
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from data_pipelines.html_text import html_text
from data_pipelines.limits import Limits
from data_pipelines.listing import CRAWLED, suffix
from data_pipelines.table import Step, column, documents

ROWWISE = True

Row = dict[str, Any]


def make(*, input: str, licence: str = "unknown", page_seconds: float = 5.0,
         page_bytes: int = 1 << 30) -> Step:
    """Return the step from a listing's table to documents.

    Args:
        input: the folder that was listed.
        licence: of the documents; a .jsonl row's own "licence" or "license" goes before it.
        page_seconds: of CPU that the extraction of one page may take.
        page_bytes: of memory that it may take.
    """
    limits = Limits(page_seconds, page_bytes)

    def read(files: pa.Table) -> pa.Table:
        groups = itertools.groupby(column(files, "source"), is_crawled)
        return documents([{"licence": licence, **row} for crawled, sources in groups
                          for row in (read_crawled(Path(input), list(sources), limits) if crawled
                                      else read_plain(Path(input), sources))])

    return read


def is_crawled(source: str) -> bool:
    """Return whether a file's records are read by data_pipelines/readers."""
    return suffix(PurePath(source)) in CRAWLED


def read_crawled(folder: Path, sources: list[str], limits: Limits) -> Iterator[Row]:
    """Yield the rows of archives, tables and PDF files; one child process serves them all."""
    # Imported here: lxml, fastwarc and Parquet cost a second that plain files need not spend.
    from data_pipelines.raw_rows import raw_rows
    from data_pipelines.readers import any_format
    records = (record._replace(source=source) for source in sources
               for record in any_format.read(folder / source))
    yield from raw_rows(records, limits=limits)


def read_plain(folder: Path, sources: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of text, HTML and JSON lines."""
    for source in sources:
        yield from read_file(folder, source)


def read_file(folder: Path, source: str) -> Iterator[Row]:
    """Yield the rows of one file."""
    try:
        data = read_bytes(folder / source)
    except (OSError, EOFError, zlib.error) as err:
        yield bad(source, 0, "unreadable", getattr(err, "strerror", None) or str(err))
        return
    kind = suffix(PurePath(source))
    if kind == ".jsonl":
        for number, line in enumerate(data.split(b"\n")):
            if line.strip():
                yield json_row(source, number, line)
    else:
        yield text_row(source, 0, data, kind)


def read_bytes(path: Path) -> bytes:
    """Return a file's content, uncompressed.

    Raises:
        OSError: it cannot be read, or is a pipe, a socket or a device, which might never end.
    """
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is not a regular file")
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix.lower() == ".gz" else data


def text_row(source: str, row: int, data: bytes, kind: str) -> Row:
    """Return the row of a file's content."""
    if b"\0" in data:
        return bad(source, row, "not_text", f"NUL at byte {data.index(0)}")
    try:
        text = data.decode()
        return {"source": source, "row": row, "text": html_text(text) if kind == ".html" else text}
    except UnicodeDecodeError as err:
        return bad(source, row, "not_text", f"not UTF-8 at byte {err.start}")
    except ValueError as err:
        return bad(source, row, "bad_html", str(err))


def json_row(source: str, row: int, line: bytes) -> Row:
    """Return the row of one line of a .jsonl file, whose object has a "text"."""
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
    own = fields.get("licence") or fields.get("license")
    return {"source": source, "row": row, "text": text} | (
        {"licence": own} if isinstance(own, str) else {})


def bad(source: str, row: int, reason: str, detail: str) -> Row:
    """Return a row that is dropped as it is read."""
    return {"source": source, "row": row, "text": "", "dropped": reason, "detail": detail}
