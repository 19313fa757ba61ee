"""Summaries of each row's past: over the rows of the same key in a stretch of time before it.

Reads and returns a table, with `<column>_<summary>_<window>` (float64) for each; rows at the very
time of a row are part of its window, later ones never, so that no future leaks into features.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from data_pipelines.steps.scale import numbers
from data_pipelines.table import Step, add_column, column
from ssljax.core.errors import ConfigError

SUMMARIES = ("count", "sum", "mean", "std", "min", "max")


def make(*, columns: Sequence[str], time: str, by: str, length: float,
         summaries: Sequence[str] = ("mean", "count")) -> Step:
    """Return the step.

    Args:
        columns: numbers that are summarised; null and NaN are left out.
        time: column of times: numbers, or timestamps, which count in seconds.
        by: column of keys, such as a sensor's name.
        length: of the window, in the unit of `time`; its far end is not part of it.
        summaries: of count, sum, mean, std, min, max.

    Raises:
        ConfigError: an unknown summary, or a window of no length.
    """
    if not columns or set(summaries) - set(SUMMARIES) or length <= 0:
        raise ConfigError(f"window: columns {columns}, summaries {summaries}, length {length}; "
                          f"expected columns, summaries of {SUMMARIES}, and a positive length.")

    def apply(table: pa.Table) -> pa.Table:
        times = seconds(table[time])
        _, keys = np.unique(np.array([str(k) for k in column(table, by)]), return_inverse=True)
        order = np.lexsort((times, keys))
        first, stop = edges(keys[order], times[order], length)
        for name in columns:
            values = numbers(table[name])[order]
            for summary in summaries:
                result = np.empty(len(order))
                result[order] = [summarise(values[a:b], summary) for a, b in zip(first, stop)]
                table = add_column(table, f"{name}_{summary}_{length:g}",
                                   pa.array(result, from_pandas=True))
        return table

    return apply


def seconds(values: pa.ChunkedArray) -> np.ndarray:
    """Return times as float64, timestamps as seconds since 1970."""
    if pa.types.is_timestamp(values.type):
        return values.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).to_numpy() / 1e6
    return numbers(values)


def edges(keys: np.ndarray, times: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each row's window and the row after its last, both int64 [n]."""
    first, stop = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    for start, end in zip(*(np.searchsorted(keys, np.unique(keys), s) for s in ("left", "right"))):
        some = times[start:end]
        first[start:end] = start + np.searchsorted(some, some - length, "right")
        stop[start:end] = start + np.searchsorted(some, some, "right")
    return first, stop


def summarise(values: np.ndarray, summary: str) -> float:
    """Return one summary of the numbers among some values; NaN where there are none."""
    values = values[np.isfinite(values)]
    if summary == "count":
        return len(values)
    return float(getattr(np, summary)(values)) if len(values) else np.nan
