"""Verdicts of steps that judge rows together: the records that go back to a row's block.

Columns: "row", "dropped" and "detail" (null where the row stays), and "named" and "cluster": a row
whose cluster is `named` goes to `cluster`.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from data_pipelines.table import column, drop, replace

SCHEMA = pa.schema([("row", pa.int64()), ("dropped", pa.string()), ("detail", pa.string()),
                    ("named", pa.string()), ("cluster", pa.string())])


def verdicts(rows: np.ndarray, *, named: Sequence[str], cluster: Sequence[str],
             dropped: Sequence[str | None] | None = None,
             detail: Sequence[str | None] | None = None) -> pa.Table:
    """Return the table of verdicts on some rows."""
    none = [None] * len(rows)
    return pa.table([pa.array(rows, pa.int64()), *(pa.array(v, pa.string()) for v in (
        none if dropped is None else dropped, none if detail is None else detail,
        named, cluster))], schema=SCHEMA)


def apply_verdicts(table: pa.Table, found: pa.Table) -> pa.Table:
    """Return the table of a block with its verdicts, whose rows count from its first."""
    clusters = column(table, "cluster")
    drops = {}
    for verdict in found.to_pylist():
        if verdict["dropped"] is not None:
            drops[verdict["row"]] = (verdict["dropped"], verdict["detail"])
        if clusters[verdict["row"]] == verdict["named"]:
            clusters[verdict["row"]] = verdict["cluster"]
    return replace(drop(table, drops), "cluster", clusters)
