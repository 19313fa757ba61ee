"""Summaries of each row's past: over the rows of the same key in a stretch of time before it.

Reads and returns the table of documents, with `<column>_<summary>_<window>` (float64) for each;
rows at the very time of a row are part of its window, later ones never, so that no future leaks
into features. A grouped step: rows meet by their key, and all of one key are in memory at a time.
Rows dropped before are in no window and get none.
"""

import functools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Channels, Context, Emitted, Grouped, Round
from data_pipelines.steps.scale import numbers
from data_pipelines.table import add_column, column, kept
from ssljax.core.errors import ConfigError
from ssljax.core.rng import hash64

SUMMARIES = ("count", "sum", "mean", "std", "min", "max")


def make(*, columns: Sequence[str], time: str, by: str, length: float,
         summaries: Sequence[str] = ("mean", "count")) -> Grouped:
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

    named = {(c, kind): f"{c}_{kind}_{length:g}" for c in columns for kind in summaries}
    return Grouped(functools.partial(emit, columns=columns, time=time, by=by),
                   (Round("windows", ("times",), functools.partial(judge, named=named,
                                                                   length=length)),),
                   functools.partial(add_features, named=named))


def emit(table: pa.Table, first: int, *, columns: Sequence[str], time: str, by: str) -> Emitted:
    """Return the time and numbers of each row, by its key."""
    rows, keys = kept(table), column(table, by)
    hashes = {k: hash64("window", str(k)) for k in set(keys)}
    return {"times": pa.table({
        "key": np.array([hashes[keys[r]] for r in rows], np.uint64), "row": rows + first,
        "time": seconds(table[time])[rows],
        **{f"of {c}": numbers(table[c])[rows] for c in columns}})}


def judge(channels: Channels, context: Context, *, named: dict[tuple[str, str], str],
          length: float) -> Channels:
    """Return the summaries of each row's window."""
    del context
    found = channels["times"]
    times, keys, rows = (found[n].to_numpy() for n in ("time", "key", "row"))
    order = np.lexsort((rows, times, keys))
    first, stop = edges(keys[order], times[order], length)
    made = {}
    for (name, summary), feature in named.items():
        values = found[f"of {name}"].to_numpy()[order]
        made[feature] = pa.array([summarise(values[a:b], summary) for a, b in zip(first, stop)],
                                 pa.float64())
    return {"verdicts": pa.table({"row": rows[order], **made})}


def add_features(table: pa.Table, found: pa.Table, *, named: dict[tuple[str, str], str]
                 ) -> pa.Table:
    """Return the table of a block with the summaries of its rows."""
    for feature in named.values():
        result = np.full(table.num_rows, np.nan)
        result[found["row"].to_numpy()] = found[feature].to_numpy()
        table = add_column(table, feature, pa.array(result, from_pandas=True))
    return table


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
