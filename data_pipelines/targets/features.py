"""Feature tables for models of sensors and tables: a vector of numbers a row, in Parquet.

Each row has `features` (list of float32, NaN for null, in the order of `columns`), `categories`
(list of int32) where there are any, further columns asked for, and "document", the row's id.
features.json has the names. `ssljax.sources.parquet` reads `features` as an array [F].
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_pipelines.sharded import SHARD_BYTES, Format, check_bytes, stages, write_sharded
from data_pipelines.target import Made, Ordered, Target
from data_pipelines.targets.parquet import write_table
from data_pipelines.write_shards import write_bytes
from ssljax.core.errors import ConfigError, DataError


def make(*, columns: Sequence[str], categories: Sequence[str] = (), others: Sequence[str] = (),
         shard_bytes: int = SHARD_BYTES, group_rows: int = 256) -> Target:
    """Return the target.

    Args:
        columns: of numbers, in the order of the vector.
        categories: of numbers of categories, such as the step `encode` writes.
        others: columns to keep as they are, such as a label or a time.
        shard_bytes: of a shard's columns, to within a row.
        group_rows: rows of a row group.

    Raises:
        ConfigError: no columns, or a size that cannot be.
    """
    check_bytes(shard_bytes)
    if not columns or group_rows < 1:
        raise ConfigError(f"target: columns {columns}, group_rows {group_rows}; expected some "
                          "columns of numbers, and at least 1.")
    names = {"features": tuple(columns), "categories": tuple(categories)}
    write_group = functools.partial(write_vectors, names=names, group_rows=group_rows)

    def write(given: Ordered) -> Made:
        made = write_sharded(given, Format(".parquet", write_group), shard_bytes, names,
                             group_rows)
        about = json.dumps(names, indent=2).encode()
        return made._replace(files=[write_bytes(given.folder, "features.json", about)])

    # One that is named twice is carried once.
    return Target(tuple(dict.fromkeys([*columns, *categories, *others])), write, stages())


def write_vectors(path: Path, table: pa.Table, names: dict[str, tuple[str, ...]],
                  group_rows: int) -> None:
    """Write one file, its columns of numbers as vectors.

    Raises:
        DataError: a column is not of numbers.
    """
    made = table.drop_columns([*{*names["features"], *names["categories"]}])
    for field, kind in (("categories", np.int32), ("features", np.float32)):
        if names[field]:
            made = made.add_column(0, field, vectors(table, names[field], kind))
    write_table(path, made, group_rows)


def vectors(table: pa.Table, names: Sequence[str], kind: type[np.number]) -> pa.Array:
    """Return columns side by side as lists of one length; NaN, or 0 of integers, for null."""
    flat = np.empty((table.num_rows, len(names)), kind)
    for at, name in enumerate(names):
        try:
            numbers = table[name].cast(pa.float64()).to_numpy()
        except pa.ArrowInvalid as err:
            raise DataError(f'target features: the column "{name}" is {table[name].type}, and not '
                            f"of numbers: {err}") from err
        flat[:, at] = np.nan_to_num(numbers) if kind is np.int32 else numbers
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), len(names))
