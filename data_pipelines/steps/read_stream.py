"""Entries of a Redis stream, checkpointed by offset into Parquet files that stay, become rows.

The input is the broker's URL. A run first reads what the stream has beyond the last file of
`folder`, each entry into exactly one file (data_pipelines/readers/redis_stream.py), and then all
files: a stream that has nothing new is the same input. Needs the extra [streams]. Returns tables of
documents; drops "bad_value" and "no_text".
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.listing import SCHEMA, Listing, stat
from data_pipelines.readers.record import Raw
from data_pipelines.readers.redis_stream import read_stream
from data_pipelines.source import Source
from data_pipelines.table import column
from data_pipelines.typed_rows import Fields, check_fields, typed_tables
from ssljax.core.errors import ConfigError, DataError


def make(*, stream: str, folder: str, text: str = "text",
         columns: Mapping[str, str] | None = None, entity: str = "", entries: int = 10_000,
         wait: float = 0.0, input: str = "", licence: str = "unknown") -> Source:
    """Return the source.

    Args:
        stream: its key.
        folder: of the files of entries; made where it is absent.
        text: field that is the document's text; "" for none.
        columns: field -> "float64", "int64", "string", "bool" or "timestamp".
        entity: column whose equal values `split` keeps on one side.
        entries: most of a file.
        wait: seconds without a new entry after which reading ends.
        input: such as redis://localhost:6379/0.
        licence: of the rows; a field "licence" goes before it.

    Raises:
        ConfigError: no broker or folder, an unknown type, or a name that is taken.
    """
    if "://" not in input or not folder:
        raise ConfigError(f"read_stream: folder {folder!r}; expected one for the files of entries, "
                          "and --input redis://HOST:PORT/BASE.")
    fields = check_fields(Fields(columns or {}, {}, text, entity))

    def read(files: pa.Table) -> Iterator[pa.Table]:
        records = (r for source in column(files, "source") for r in entries_of(folder, source))
        yield from typed_tables(records, fields, licence)

    return Source(functools.partial(list_entries, input, stream, folder, entries, wait), read)


def list_entries(url: str, stream: str, folder: str, entries: int, wait: float,
                 without: Sequence[str]) -> Listing:
    """Read what is new into files; list them all.

    Raises:
        DataError: the broker cannot be reached, or there never was an entry.
    """
    del without
    read_stream(url, stream, folder, entries=entries, wait=wait)
    files = sorted(Path(folder).glob("[0-9]*-[0-9]*.parquet"))
    if not files:
        raise DataError(f"Stream {stream} has no entries.")
    rows = [{"source": f.name, **stat(f), "mtime_ns": 0} for f in files]
    return Listing(pa.Table.from_pylist(rows, schema=SCHEMA), {})


def entries_of(folder: str, source: str) -> Iterator[Raw]:
    """Yield the entries of one file."""
    for row, entry in enumerate(pq.read_table(Path(folder, source)).to_pylist()):
        fields = {k: v.decode("utf-8", "replace") for k, v in entry["fields"]}
        yield Raw(source, row, -1, fields, "row")
