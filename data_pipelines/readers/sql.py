"""Rows of a query: DuckDB for its own files, SQLite and anything it attaches, ConnectorX else.

DuckDB (https://duckdb.org, MIT) and ConnectorX (https://github.com/sfu-db/connector-x, MIT: one
Rust wheel for PostgreSQL, MySQL, SQL Server, Oracle, BigQuery and SQLite) both stream Arrow
batches. Needs the extra [sql]. Yields a mapping of columns. A database that cannot be reached, or
a wrong query, is a DataError: there is no record to count; what fails later is "bad_table".
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from data_pipelines.readers.record import Raw, failed
from ssljax.core.errors import DataError, needed

BATCH = 1024              # rows held at once


def read(uri: str, query: str, *, name: str = "") -> Iterator[Raw]:
    """Yield the rows of a query, in the order the database gives them: end it with ORDER BY.

    Args:
        uri: "duckdb:///path" ("duckdb://" is in memory), or a ConnectorX URI such as
            "sqlite:///path" or "postgresql://user@host/base".
        query: a SELECT in the database's own dialect.
        name: source of the records; the URI is not used, since it may hold a password.

    Raises:
        DataError: no connection, or a query that the database refuses.
        MissingExtraError: [sql] is not installed.
    """
    name, row = name or f"{uri.partition(':')[0]}:query", 0
    batches = duckdb_batches(uri, query) if uri.startswith("duckdb:") else stream(uri, query)
    try:
        for batch in batches:
            for fields in batch.to_pylist():
                yield Raw(name, row, -1, fields, "row")
                row += 1
    except pa.ArrowException as err:
        yield failed(name, row, -1, "bad_table", err)


def duckdb_batches(uri: str, query: str) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a DuckDB query; a file is opened for reading only."""
    with needed("duckdb", "sql"):
        import duckdb
    path = uri.removeprefix("duckdb://")
    try:
        base = duckdb.connect(path or ":memory:", read_only=bool(path))
        reader = base.sql(query).to_arrow_reader(BATCH)
    except duckdb.Error as err:
        raise DataError(f"DuckDB cannot run the query: {err}") from err
    with base:
        yield from reader


def stream(uri: str, query: str) -> Iterator[Any]:
    """Yield the batches of a ConnectorX query."""
    with needed("connectorx", "sql"):
        import connectorx
    try:
        reader = connectorx.read_sql(uri, query, return_type="arrow_stream", batch_size=BATCH)
    except RuntimeError as err:
        scheme = uri.partition(":")[0]
        raise DataError(f"{scheme}: the database cannot run the query: {err}") from err
    yield from reader
