"""Train before a moment, validation from it on: how models of sensors are judged.

A random split of a series leaks: neighbours in time are near copies. Reads and returns the table of
documents; a row without a time is dropped as "no_time".
"""

import numpy as np
import pyarrow as pa

from data_pipelines.steps.window import seconds
from data_pipelines.table import Step, drop, kept, replace
from ssljax.core.errors import ConfigError

ROWWISE = True


def make(*, time: str, validation_from: float, gap: float = 0.0) -> Step:
    """Return the step.

    Args:
        time: column of times: numbers, or timestamps, which count in seconds since 1970.
        validation_from: the first time of the validation split, in the unit of `time`.
        gap: rows so little before it are in neither split, since windows of the validation rows
            reach into them. "split_gap"

    Raises:
        ConfigError: a negative gap.
    """
    if gap < 0:
        raise ConfigError(f"split_by_time: gap {gap}; expected at least 0.")

    def apply(table: pa.Table) -> pa.Table:
        times, rows = seconds(table[time]), kept(table)
        missing = rows[np.isnan(times[rows])]
        between = rows[(times[rows] < validation_from) & (times[rows] >= validation_from - gap)]
        table = drop(table, {**dict.fromkeys(missing.tolist(), ("no_time", "")),
                             **{int(r): ("split_gap", f"{times[r]:g}") for r in between}})
        splits = np.full(table.num_rows, None, object)
        rows = kept(table)
        splits[rows] = np.where(times[rows] < validation_from, "train", "validation")
        return replace(table, "split", splits)

    return apply
