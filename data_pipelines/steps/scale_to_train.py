"""Bring columns of numbers to a common scale, by statistics of the corpus's own training rows.

`scale` does so by a sample given beforehand; here the recipe splits first, and nothing of the
validation rows is looked at. A grouped step: all values of a column meet in one partition, 8 bytes
a row. Reads and returns a table with `<column>_scaled` (float32); null stays null.
"""

import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.engine.plan import Channels, Context, Emitted, Grouped, Round
from data_pipelines.steps.scale import numbers, statistics
from data_pipelines.table import add_column, kept
from ssljax.core.errors import ConfigError
from ssljax.core.rng import hash64

VERDICT = pa.schema([("row", pa.int64()), ("column", pa.int64()), ("centre", pa.float64()),
                     ("spread", pa.float64())])


def make(*, columns: Sequence[str], kind: Literal["standard", "range", "robust"] = "standard",
         clip: float = 0.0) -> Grouped:
    """Return the step; put it after the step that splits.

    Args:
        columns: what is scaled.
        kind: as `scale` has it: "standard", "range" or "robust".
        clip: greatest magnitude of the result; 0 for any.

    Raises:
        ConfigError: no columns, an unknown kind, or a negative bound.
    """
    if not columns or kind not in ("standard", "range", "robust") or clip < 0:
        raise ConfigError(f"scale_to_train: columns {columns}, kind {kind!r}, clip {clip}; "
                          "expected some, standard, range or robust, and at least 0.")
    return Grouped(functools.partial(emit, columns=tuple(columns)),
                   (Round("statistics", ("values", "blocks"),
                          functools.partial(judge, kind=kind)),),
                   functools.partial(apply, columns=tuple(columns), clip=clip))


def keys(count: int) -> np.ndarray:
    """Return what the values of each column meet by, uint64 [columns]."""
    return np.array([hash64("scale", at) for at in range(count)], np.uint64)


def emit(table: pa.Table, first: int, *, columns: Sequence[str]) -> Emitted:
    """Return the training rows' values by column, and that the block wants to know."""
    rows = kept(table)
    train = rows[pc.equal(table["split"].take(pa.array(rows)), "train").to_numpy(False)
                 .astype(bool)] if len(rows) else rows
    values = np.concatenate([numbers(table[name])[train] for name in columns])
    of = keys(len(columns))
    asking = of if table.num_rows else of[:0]
    return {"values": pa.table({"key": np.repeat(of, len(train)), "value": values}),
            "blocks": pa.table({"key": asking, "row": np.full(len(asking), first, np.int64),
                                "column": np.arange(len(asking))})}


def judge(channels: Channels, context: Context, *, kind: str) -> Channels:
    """Return each column's statistics to the first row of every block."""
    del context
    at, values = channels["values"]["key"].to_numpy(), channels["values"]["value"].to_numpy()
    asked, made = channels["blocks"], []
    for key in np.unique(asked["key"].to_numpy()):
        centre, spread = statistics(pa.chunked_array([values[at == key]]), kind).tolist()
        blocks = asked.filter(pc.equal(asked["key"], pa.scalar(key, pa.uint64())))
        made += [{"row": r["row"], "column": r["column"], "centre": centre, "spread": spread}
                 for r in blocks.to_pylist()]
    return {"verdicts": pa.Table.from_pylist(made, schema=VERDICT)}


def apply(table: pa.Table, verdicts: pa.Table, *, columns: Sequence[str],
          clip: float) -> pa.Table:
    """Return a block with its columns scaled."""
    known = {v["column"]: (v["centre"], v["spread"]) for v in verdicts.to_pylist()}
    for at, name in enumerate(columns):
        centre, spread = known.get(at, (0.0, 1.0))
        scaled = (numbers(table[name]) - centre) / spread
        scaled = np.clip(scaled, -clip, clip) if clip else scaled
        table = add_column(table, f"{name}_scaled",
                           pa.array(scaled.astype(np.float32), from_pandas=True))
    return table
