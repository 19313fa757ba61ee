"""Files of images or recordings as rows: of a folder, of zip and tar archives in it, or of a URL.

Archives are listed once, and a member is one read at its offset, so that a large archive is work
for every worker. Reads files; returns the table of documents, text empty, with a column of the
files' bytes, their `bytes` (int64), `sha256` and `label`, the folder a file lies in. Reasons:
"bad_archive", "too_large", "unreadable", "empty".
"""

import functools
import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from data_pipelines.listing import Listing, inside, is_url, list_url, stat
from data_pipelines.raw_rows import encodable
from data_pipelines.readers.opening import opened
from data_pipelines.readers.record import MAX_BYTES
from data_pipelines.source import Source
from data_pipelines.table import add_column, documents
from ssljax.core.errors import ConfigError, DataError, UnreadableRecordError
from ssljax.sources.image_members import DEFLATED, LIST, folder_members

PIECE = 16 << 20               # bytes of files held at once
COLUMNS = pa.schema([("bytes", pa.int64()), ("sha256", pa.string()), ("label", pa.string())])
# archive: its path below the input, "" for a file of a folder; error: why it cannot be listed
LISTED = pa.schema([("source", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()),
                    ("archive", pa.string()), ("offset", pa.int64()), ("method", pa.int64()),
                    ("crc", pa.int64()), ("error", pa.string())])

Row = dict[str, Any]


def media_source(*, folder: str, licence: str, column: str, suffixes: Sequence[str]) -> Source:
    """Return the source of files with some suffixes.

    Args:
        folder: path of a folder or of one archive, or URL of a folder.
        licence: of the files.
        column: where their bytes go.
        suffixes: lower case.

    Raises:
        ConfigError: no folder was named.
    """
    if not folder:
        raise ConfigError("recipe.input is empty; expected a folder or archive: --input DIR.")
    return Source(functools.partial(list_media, folder, tuple(suffixes)),
                  functools.partial(read_media, folder, licence, column))


def list_media(folder: str, suffixes: tuple[str, ...], without: Sequence[str]) -> Listing:
    """List the files with some suffixes, those inside archives among them.

    Raises:
        DataError: there are none.
    """
    if is_url(folder):
        rows = [{"source": s, **about, "archive": "", "offset": 0} for s, about in
                list_url(folder).items()]
    elif Path(folder).is_file():
        rows = archive_rows(os.path.dirname(folder), os.path.basename(folder))
    else:
        left = [Path(w).resolve() for w in without]
        rows = []
        for member in folder_members(folder):
            place = Path(folder, member.name)
            if any(w in place.resolve().parents for w in left):
                continue
            rows += archive_rows(folder, member.name) if place.suffix in LIST else [
                {"source": encodable(member.name), **stat(place), "archive": "", "offset": 0}]
    taken = [r for r in rows if r.get("error") or PurePath(r["source"]).suffix.lower() in suffixes]
    if not any(not r.get("error") for r in taken):
        raise DataError(f"Input {folder} has {len(rows)} files, and none that can be listed is one "
                        f"of {' '.join(suffixes)}.")
    others = {"other suffix": len(rows) - len(taken)} if len(taken) < len(rows) else {}
    taken.sort(key=lambda r: r["source"])
    return Listing(pa.Table.from_pylist(taken, schema=LISTED), others)


def archive_rows(folder: str, name: str) -> list[Row]:
    """Return a row for each member of an archive, or one that says why it has none."""
    path, mtime = os.path.join(folder, name), stat(Path(folder, name))["mtime_ns"]
    try:
        return [{"source": encodable(f"{name}!{m.name}"), "size": m.stored, "mtime_ns": mtime,
                 "archive": name, "offset": m.offset, "method": m.method, "crc": m.crc}
                for m in LIST[PurePath(name).suffix](path, 0)]
    except (DataError, KeyError) as err:
        return [{"source": name, "size": 0, "mtime_ns": mtime, "archive": "", "offset": 0,
                 "error": str(err)}]


def read_media(folder: str, licence: str, column: str, files: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of listed files, a bounded piece at a time."""
    home = os.path.dirname(folder) if os.path.isfile(folder) else folder
    waiting: list[tuple[Row, bytes | None]] = []
    size = 0
    for listed in files.to_pylist():
        try:
            data, wrong = read_file(home, listed), None
        except UnreadableRecordError as err:
            data, wrong = None, (err.reason, str(err))
        waiting.append((describe(listed, data, wrong, licence), data))
        size += len(data or b"")
        if size >= PIECE:
            yield rows_table(waiting, column)
            waiting, size = [], 0
    yield rows_table(waiting, column)


def read_file(home: str, listed: Row) -> bytes:
    """Return the content of one listed file.

    Raises:
        UnreadableRecordError: it is cut, damaged, empty, gone or too large.
    """
    if listed["error"]:
        raise UnreadableRecordError(listed["error"], "bad_archive")
    if listed["size"] > MAX_BYTES:
        raise UnreadableRecordError(f"{listed['size']:,} bytes", "too_large")
    try:
        with opened(inside(home, listed["archive"] or listed["source"])) as file:
            file.seek(listed["offset"])
            data = file.read(listed["size"] if listed["archive"] else MAX_BYTES + 1)
        if listed["method"] == DEFLATED:
            # Bounded, as a bomb of a megabyte becomes a gigabyte.
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, MAX_BYTES + 1)
    except (OSError, zlib.error) as err:
        raise UnreadableRecordError(getattr(err, "strerror", None) or str(err),
                                    "unreadable") from err
    if len(data) > MAX_BYTES:
        raise UnreadableRecordError(f"over {MAX_BYTES:,} bytes", "too_large")
    if (listed["crc"] or -1) >= 0 and zlib.crc32(data) != listed["crc"]:
        raise UnreadableRecordError("its checksum differs", "unreadable")
    if not data:
        raise UnreadableRecordError("no bytes", "empty")
    return data


def describe(listed: Row, data: bytes | None, wrong: tuple[str, str] | None, licence: str) -> Row:
    """Return the row of a file, dropped where it cannot be read."""
    within = listed["source"].rpartition("!")[2].rpartition("/")[0]
    row = {"source": listed["source"], "row": 0, "offset": listed["offset"], "text": "",
           "licence": licence, "label": within.rpartition("/")[2] or None}
    if wrong:
        return row | {"dropped": wrong[0], "detail": wrong[1]}
    return row | {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def rows_table(rows: Sequence[tuple[Row, bytes | None]], column: str) -> pa.Table:
    """Return rows as a table with the files' bytes."""
    table = documents([row for row, _ in rows])
    for field in COLUMNS:
        table = add_column(table, field.name, pa.array([r.get(field.name) for r, _ in rows],
                                                       field.type))
    return add_column(table, column, pa.array([data for _, data in rows], pa.large_binary()))
