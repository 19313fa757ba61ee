"""Number the categories of columns, by a sample that is kept with the numbers.

Reads and returns a table, with `<column>_id` (int32) for each column: 0 is null or not among the
sample's most frequent categories, which are 1, 2, ... from the most frequent.
"""

import functools
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Fitted
from data_pipelines.fitted import Tensors, fitted, read_examples
from data_pipelines.table import add_column, column
from ssljax.core.errors import ConfigError

ROWWISE = True
READS = ("sample",)
FITS = ("model",)


def make(*, columns: Sequence[str], sample: str, model: str, most: int = 65_535) -> Fitted:
    """Return the step; categories are counted before it is used.

    Args:
        columns: what is numbered; values count as equal where their text is.
        sample: Parquet or JSON lines with these columns.
        model: file of the categories, .safetensors; read where it is there.
        most: categories of a column that have numbers of their own.

    Raises:
        ConfigError: no columns, or no category.
    """
    if not columns or most < 1:
        raise ConfigError(f"encode: columns {columns}, most {most}; expected at least one of each.")
    settings: dict[str, Any] = dict(kind="encode", columns=list(columns), most=most)
    load = functools.cache(lambda: {
        name: {c: i for i, c in enumerate(json.loads(bytes(found)), 1)}
        for name, found in fitted(model, settings, [sample], fit).items()})

    def fit() -> Tensors:
        return {name: categories(read_examples(sample, name), most) for name in columns}

    def apply(table: pa.Table) -> pa.Table:
        for name in columns:
            ids = [0 if v is None else load()[name].get(str(v), 0) for v in column(table, name)]
            table = add_column(table, f"{name}_id", pa.array(ids, pa.int32()))
        return table

    return Fitted(load, apply)


def categories(values: pa.ChunkedArray, most: int) -> np.ndarray:
    """Return the most frequent categories as bytes of JSON; of equals the first in order."""
    counts = Counter(str(v) for v in values.to_pylist() if v is not None)
    ranked = sorted(counts, key=lambda c: (-counts[c], c))[:most]
    return np.frombuffer(json.dumps(ranked).encode(), np.uint8)
