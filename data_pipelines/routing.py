"""Row-wise steps for some rows only: those of a language, a source, a licence, a topic.

    {"name": "perplexity", "model": "de.safetensors", ..., "where": {"language": ["de"]}}

The others are hidden from the step: it sees them as dropped, and they come back as they were. A
column that it adds is null there, or what an earlier step wrote for them.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.engine.plan import Fitted, Grouped, Step
from data_pipelines.table import replace
from ssljax.core.errors import ConfigError, DataError

HIDDEN = "elsewhere"
Where = Mapping[str, Sequence[str]]        # column -> the values that go through the step


def routed(name: str, step: Step, where: Where) -> Step:
    """Return a step that judges only rows whose columns have one of the values.

    Raises:
        ConfigError: the step judges rows together, or `where` is no mapping to lists of strings.
    """
    plain = isinstance(where, Mapping) and where and all(
        isinstance(v, (list, tuple)) and v and all(isinstance(x, str) for x in v)
        for v in where.values())
    if not plain:
        raise ConfigError(f"{name}.where = {where!r}; expected columns and lists of values, such "
                          'as {"language": ["de", "fr"]}.')
    if isinstance(step, Grouped):
        raise ConfigError(f"{name} judges rows together and takes no `where`; put it on steps that "
                          "judge each row alone.")
    if isinstance(step, Fitted):
        return Fitted(step.load, apply_where(name, step.apply, where))
    return apply_where(name, step, where)


def apply_where(name: str, step: Callable[[pa.Table], pa.Table],
                where: Where) -> Callable[[pa.Table], pa.Table]:
    """Return the step on chosen rows."""
    def apply(table: pa.Table) -> pa.Table:
        hidden = hidden_rows(name, table, where)
        dropped = pc.if_else(pc.and_(hidden, pc.is_null(table["dropped"])), HIDDEN,
                             table["dropped"])
        made = step(replace(table, "dropped", dropped.to_pylist()))
        before = {n: table[n] for n in table.column_names}
        columns = [restored(made[f.name], before.get(f.name), hidden) for f in made.schema]
        return pa.Table.from_arrays(columns, schema=made.schema)

    return apply


def hidden_rows(name: str, table: pa.Table, where: Where) -> pa.Array:
    """Return which rows do not go through the step, bool.

    Raises:
        DataError: the table has no such column.
    """
    seen = np.ones(table.num_rows, bool)
    for column, values in where.items():
        if column not in table.column_names:
            raise DataError(f'{name}.where names the column "{column}", which no step before it '
                            f"adds; there are {', '.join(table.column_names)}.")
        seen &= pc.is_in(table[column], pa.array(values, table[column].type)).to_numpy()
    return pa.array(~seen)


def restored(made: pa.ChunkedArray, before: pa.ChunkedArray | None,
             hidden: pa.Array) -> pa.ChunkedArray:
    """Return a column whose hidden rows are as before; null where it is new."""
    kept = pa.nulls(len(made), made.type) if before is None else before.cast(made.type)
    return pa.chunked_array([pc.if_else(hidden, combine(kept), combine(made))])


def combine(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return values in one piece."""
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
