"""The table that steps pass on: one row for every document read, kept or dropped, to the end.

A step is a pure function from table to table. It judges only rows that nothing has dropped yet,
so the first failing rule names the drop, and it never removes a row: what was read is accounted
for in the dataset's documents.jsonl.gz.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssljax.core.rng import hash64

Step = Callable[[pa.Table], pa.Table]
Verdicts = Mapping[int, tuple[str, str]]       # row number -> (reason, detail)

# 64-bit offsets: Arrow's plain strings end at 2 GiB a column.
SCHEMA = pa.schema([
    ("id", pa.string()),            # 16 hexadecimal digits, a hash of source and row
    ("source", pa.string()),        # path relative to the input, with forward slashes
    ("row", pa.int64()),            # line of a .jsonl file from 0; 0 elsewhere
    ("offset", pa.int64()),         # byte of the source where the row begins; null: unknown
    ("url", pa.string()),           # address it was fetched from, where there is one
    ("text", pa.large_string()),    # empty where it could not be read
    ("licence", pa.string()),
    ("dropped", pa.string()),       # null: kept so far; else the reason
    ("detail", pa.string()),        # the measured value, the survivor's id, the error
    ("step", pa.string()),          # the step that dropped it
    ("cluster", pa.string()),       # id that stands for the document and those that repeat it
    ("split", pa.string()),         # null until `split`, and for dropped rows
])

COMMON = frozenset(SCHEMA.names)
DOC = b"doc"


def document_id(source: str, row: int) -> str:
    """Return the identity of a document: 16 hexadecimal digits."""
    return f"{hash64(source, row):016x}"


def documents(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the table of newly read rows, each its own cluster.

    Args:
        rows: with "source", "row", "text", "licence", where they are known "offset" and "url", and
            where it was dropped "dropped" and "detail".
    """
    ids = [document_id(r["source"], r["row"]) for r in rows]
    full = [{**r, "id": i, "cluster": i} for r, i in zip(rows, ids, strict=True)]
    return pa.Table.from_pylist(full, schema=SCHEMA)


def column(table: pa.Table, name: str) -> list[Any]:
    """Return a column as Python values, None for null."""
    return table[name].to_pylist()


def kept(table: pa.Table) -> np.ndarray:
    """Return the numbers of the rows that nothing has dropped, int64."""
    return np.flatnonzero(table["dropped"].is_null().to_numpy())


def texts(table: pa.Table, rows: np.ndarray) -> list[str]:
    """Return the texts of some rows."""
    return table["text"].take(pa.array(rows, pa.int64())).to_pylist()


def replace(table: pa.Table, name: str, values: Sequence[Any]) -> pa.Table:
    """Return the table with one column's values exchanged."""
    at = table.schema.get_field_index(name)
    field = table.schema.field(at)
    return table.set_column(at, field, pa.array(values, field.type))


def add_column(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return the table with a column of a step's own, in the place of one of that name."""
    at = table.schema.get_field_index(name)
    if at < 0:
        return table.append_column(name, values)
    return table.set_column(at, name, values)


def drop(table: pa.Table, verdicts: Verdicts) -> pa.Table:
    """Return the table with some rows dropped; a row that was dropped before keeps its reason."""
    reasons, details = column(table, "dropped"), column(table, "detail")
    for row, (reason, detail) in verdicts.items():
        if reasons[row] is None:
            reasons[row], details[row] = reason, detail
    return replace(replace(table, "dropped", reasons), "detail", details)


def name_step(table: pa.Table, name: str) -> pa.Table:
    """Return the table with `name` as the step of rows that are dropped and name none yet.

    Columns that no step has claimed become this one's: "doc" in their metadata, which is a column's
    comment in Parquet and Iceberg.
    """
    fields = [f if f.name in COMMON or DOC in (f.metadata or {}) else f.with_metadata({DOC: name})
              for f in table.schema]
    table = pa.Table.from_arrays(table.columns, schema=pa.schema(fields))
    steps = pc.if_else(pc.and_(pc.is_valid(table["dropped"]), pc.is_null(table["step"])),
                       pa.scalar(name), table["step"])
    at = table.schema.get_field_index("step")
    return table.set_column(at, table.schema.field(at), steps)


def fail(table: pa.Table, message: str) -> pa.Table:
    """Return the table with every row dropped as one that its step failed on."""
    return drop(table, dict.fromkeys(range(table.num_rows), ("step_failed", message)))


def count_dropped(table: pa.Table) -> dict[str, int]:
    """Return reason -> documents, the most frequent first."""
    counts = Counter(r for r in column(table, "dropped") if r is not None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
