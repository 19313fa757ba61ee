"""Drop documents whose text another one has, letter for letter, or whose other key.

A grouped step: documents meet by a hash of their text or of another column. `detail` is the
survivor's id and `cluster` its cluster. Reads and returns the table of documents.
"""

import functools

import numpy as np
import pyarrow as pa

from data_pipelines import equal_keys
from data_pipelines.engine.plan import Grouped
from data_pipelines.survivors import require
from data_pipelines.table import texts


def make(*, key: str = "text", quality: str = "") -> Grouped:
    """Return the step; put `normalise` before it, so that equal text has one spelling.

    Args:
        key: column that is compared, such as `sha256` of images and recordings; rows without a
            value repeat nothing.
        quality: column of numbers by which survivors are preferred; empty: the smallest id.
    """
    keys = stripped if key == "text" else functools.partial(values, key=key)
    return equal_keys.grouped(keys, "exact_duplicate", quality)


def stripped(table: pa.Table, rows: np.ndarray) -> list[str]:
    """Return the texts of some rows without the white space around them."""
    return [text.strip() for text in texts(table, rows)]


def values(table: pa.Table, rows: np.ndarray, key: str) -> list[str | None]:
    """Return a column of some rows as strings."""
    found = require(table, key).take(pa.array(rows, pa.int64())).to_pylist()
    return [None if v is None else str(v) for v in found]
