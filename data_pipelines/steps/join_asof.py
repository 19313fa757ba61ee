"""Join each row with the last row of another table at or before its time, of the same key.

Arrow's as-of join, of each row alone: every worker holds the columns it needs of the other table,
and no more of this one than a piece. Reads and returns a table in its order, with the columns of
the other; null where nothing was known yet, or only what is too old. The future is never joined.
"""

import functools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_pipelines.table import Step, add_column
from ssljax.core.errors import ConfigError, DataError

ROWWISE = True
READS = ("path",)


def make(*, path: str, on: str, by: Sequence[str] = (), columns: Sequence[str],
         oldest: int) -> Step:
    """Return the step.

    Args:
        path: Parquet file or folder of the other table.
        on: column of times of both: whole numbers or timestamps of one unit.
        by: columns that must be equal.
        columns: what is taken from the other table.
        oldest: greatest age of what is joined, in the unit of `on`.

    Raises:
        ConfigError: no columns or a negative age.
    """
    if not columns or oldest < 0:
        raise ConfigError(f"join_asof: columns {columns}, oldest {oldest}; expected columns, and "
                          "an age of at least 0.")

    load = functools.cache(
        lambda: pq.read_table(path, columns=[on, *by, *columns]).sort_by(on))

    def apply(table: pa.Table) -> pa.Table:
        try:
            left = table.select([on, *by]).append_column(
                "_place", pa.array(range(table.num_rows), pa.int64()))
            # Rows that were dropped as they were read may have no time; the join refuses those.
            left = left.filter(pc.is_valid(left[on])).sort_by(on)
            found = left.join_asof(load(), on=on, by=list(by), tolerance=-oldest)
        except (OSError, KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as err:
            raise DataError(f"join_asof: {path} cannot be joined on {on} by {list(by)}: {err}"
                            ) from err
        at = np.full(table.num_rows, -1)
        at[found["_place"].to_numpy()] = np.arange(found.num_rows)
        order = pa.array(at, mask=at < 0)
        for name in columns:
            table = add_column(table, name, found[name].take(order))
        return table

    return apply
