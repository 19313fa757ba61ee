"""Bring columns of numbers to a common scale, by statistics of a sample that are kept with it.

Reads and returns a table, with `<column>_scaled` (float32) for each column; null and what is no
finite number stay null, since what a gap means is the model's to decide.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Fitted
from data_pipelines.fitted import Tensors, fitted, read_examples
from data_pipelines.table import add_column
from ssljax.core.errors import ConfigError, DataError

ROWWISE = True
READS = ("sample",)
FITS = ("model",)


def make(*, columns: Sequence[str], sample: str, model: str,
         kind: Literal["standard", "range", "robust"] = "standard", clip: float = 0.0) -> Fitted:
    """Return the step; statistics are taken before it is used.

    Args:
        columns: what is scaled.
        sample: Parquet or JSON lines with these columns: the training part alone, so that nothing
            of the validation part leaks into it.
        model: file of the statistics, .safetensors; read where it is there.
        kind: "standard" subtracts the mean and divides by the standard deviation, "range" maps the
            least to 0 and the greatest to 1, "robust" uses the median and the quartiles' distance.
        clip: greatest magnitude of the result; 0 for any.

    Raises:
        ConfigError: no columns, an unknown kind, or a negative bound.
    """
    if not columns or kind not in ("standard", "range", "robust") or clip < 0:
        raise ConfigError(f"scale: columns {columns}, kind {kind!r}, clip {clip}; expected some, "
                          "standard, range or robust, and at least 0.")
    settings: dict[str, Any] = dict(kind=f"scale {kind}", columns=list(columns))
    load = functools.cache(lambda: fitted(model, settings, [sample], lambda: Tensors(
        {name: statistics(read_examples(sample, name), kind) for name in columns})))

    def apply(table: pa.Table) -> pa.Table:
        for name in columns:
            centre, spread = load()[name]
            scaled = (numbers(table[name]) - centre) / spread
            scaled = np.clip(scaled, -clip, clip) if clip else scaled
            table = add_column(table, f"{name}_scaled",
                               pa.array(scaled.astype(np.float32), from_pandas=True))
        return table

    return Fitted(load, apply)


def statistics(values: pa.ChunkedArray, kind: str) -> np.ndarray:
    """Return what is subtracted and what is divided by, float64 [2]; a constant is divided by 1.

    Raises:
        DataError: no finite number.
    """
    x = numbers(values)
    x = x[np.isfinite(x)]
    if not len(x):
        raise DataError("scale: a column of the sample has no finite number.")
    if kind == "standard":
        centre, spread = x.mean(), x.std()
    elif kind == "range":
        centre, spread = x.min(), np.ptp(x)
    else:
        low, centre, high = np.percentile(x, [25, 50, 75])
        spread = high - low
    return np.array([centre, spread if spread > 0 else 1.0])


def numbers(values: pa.ChunkedArray) -> np.ndarray:
    """Return a column as float64, NaN for null and for the infinite."""
    x = values.cast(pa.float64(), safe=False).to_numpy().copy()
    x[~np.isfinite(x)] = np.nan
    return x
