"""Rows of queries to a database or warehouse, with columns of stated types.

The input is the database's URI (data_pipelines/readers/sql.py); a password in it goes no further
than the connection. Each query is a task of its own: give several that cut the rows, such as by
range of a key, and end each with ORDER BY. What a server has is read once: give `version` another
value to read it again. Files of SQLite and DuckDB are read again when they change. Needs the extra
[sql]. Returns tables of documents; drops "bad_value" and "no_text".
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from data_pipelines.listing import SCHEMA, Listing, stat
from data_pipelines.readers import sql
from data_pipelines.source import Source
from data_pipelines.table import column
from data_pipelines.typed_rows import Fields, check_fields, typed_tables
from ssljax.core.errors import ConfigError

FILES = ("sqlite", "duckdb")   # schemes of databases that are a file


def make(*, queries: Sequence[str], columns: Mapping[str, str],
         names: Mapping[str, str] | None = None, text: str = "", entity: str = "",
         version: str = "", input: str = "", licence: str = "unknown") -> Source:
    """Return the source.

    Args:
        queries: SELECT statements in the database's own dialect.
        columns: column -> "float64", "int64", "string", "bool" or "timestamp".
        names: column -> its name in the queries' results, where that is another.
        text: column that is the document's text.
        entity: column whose equal values `split` keeps on one side.
        version: of what a server has; any word.
        input: URI, such as "sqlite:///path" or "postgresql://user@host/base".
        licence: of the rows; a column "licence" goes before it.

    Raises:
        ConfigError: no database or query, an unknown type, or a name that is taken.
    """
    if "://" not in input or not queries:
        raise ConfigError(f"read_sql: {len(queries)} queries of {input.partition('://')[0]!r}; "
                          "expected some, and --input URI such as sqlite:///path.")
    fields = check_fields(Fields(columns, names or {}, text, entity))

    def read(files: pa.Table) -> Iterator[pa.Table]:
        for source in column(files, "source"):
            number = int(source.rpartition("-")[2])
            yield from typed_tables(sql.read(input, queries[number], name=source), fields, licence)

    return Source(functools.partial(list_queries, input, len(queries), version), read)


def list_queries(uri: str, count: int, version: str, without: Sequence[str]) -> Listing:
    """Return a row for each query; its time is that of the database's file."""
    del without
    scheme, _, path = uri.partition("://")
    about = stat(Path(path)) if scheme in FILES and path else {"size": -1, "mtime_ns": -1}
    rows = [{"source": f"{scheme}:{version}query-{n:06d}", **about} for n in range(count)]
    return Listing(pa.Table.from_pylist(rows, schema=SCHEMA), {})
