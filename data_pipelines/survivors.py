"""The one rule by which steps choose what survives: quality, then length, then id.

Reads tables of documents; returns what rows are preferred by, or rows in order of preference.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.kernels.clusters import preference
from data_pipelines.table import column, kept
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
    ids = np.array(column(table, "id"), str)[rows]
    return rows[preference(scores(table, rows, quality), lengths(table, rows), ids)]


def scores(table: pa.Table, rows: np.ndarray, quality: str) -> np.ndarray:
    """Return the quality of some rows, float64 [n], NaN where unknown; zeros without a column.

    Raises:
        ConfigError: no column of that name.
    """
    if not quality:
        return np.zeros(len(rows))
    return require(table, quality).cast(pa.float64()).to_numpy()[rows]


def lengths(table: pa.Table, rows: np.ndarray) -> np.ndarray:
    """Return the characters of some texts, int64 [n], white space around them left out."""
    return pc.utf8_length(pc.utf8_trim_whitespace(table["text"])).to_numpy()[rows]


def require(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column that a step reads.

    Raises:
        ConfigError: there is none.
    """
    if name not in table.schema.names:
        raise ConfigError(f'No column "{name}" in the table of documents; put the step that writes '
                          f"it earlier. Columns: {', '.join(table.schema.names)}.")
    return table[name]
