"""The one rule by which steps choose what survives: quality, then length, then id.

Reads tables of documents; returns rows in order of preference, or the table with what repeats a
better row dropped.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.kernels.clusters import preference
from data_pipelines.table import column, drop, kept, replace
from ssljax.core.errors import ConfigError


def rank(table: pa.Table, quality: str = "") -> np.ndarray:
    """Return the rows nothing has dropped, in the order of preference as survivors, int64.

    Args:
        table: of documents.
        quality: column of numbers, more is better, null is worst; empty: length and id decide.

    Raises:
        ConfigError: no column of that name.
    """
    rows = kept(table)
    if quality:
        scores = require(table, quality).cast(pa.float64()).to_numpy()[rows]
    else:
        scores = np.zeros(len(rows))
    lengths = pc.utf8_length(pc.utf8_trim_whitespace(table["text"])).to_numpy()[rows]
    return rows[preference(scores, lengths, np.array(column(table, "id"), str)[rows])]


def require(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column that a step reads.

    Raises:
        ConfigError: there is none.
    """
    if name not in table.schema.names:
        raise ConfigError(f'No column "{name}" in the table of documents; put the step that writes '
                          f"it earlier. Columns: {', '.join(table.schema.names)}.")
    return table[name]


def drop_repeats(table: pa.Table, ranked: np.ndarray, keys: Sequence[bytes | str | None],
                 reason: str) -> pa.Table:
    """Return the table without rows whose key a better row has; they join its cluster.

    Args:
        table: of documents.
        ranked: rows that take part, best first.
        keys: one for each of `ranked`; None repeats nothing.
        reason: written into `dropped`; `detail` is the survivor's id.
    """
    ids, clusters = column(table, "id"), column(table, "cluster")
    first: dict[bytes | str, int] = {}
    verdicts = {}
    for row, key in zip(ranked.tolist(), keys, strict=True):
        survivor = row if key is None else first.setdefault(key, row)
        if survivor != row:
            verdicts[row] = (reason, ids[survivor])
            clusters[row] = clusters[survivor]
    return replace(drop(table, verdicts), "cluster", clusters)
