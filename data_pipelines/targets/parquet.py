"""Parquet files for everyone else, and for `ssljax.sources.parquet` and `images`.

The columns asked for and "document", the row's id. Row groups are small, so that a shuffled reader
decodes little for each row.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from data_pipelines.sharded import SHARD_BYTES, Format, check_bytes, stages, write_sharded
from data_pipelines.target import Made, Ordered, Target
from ssljax.core.errors import ConfigError


def make(*, columns: Sequence[str] = ("text", "source", "licence"),
         shard_bytes: int = SHARD_BYTES, group_rows: int = 256) -> Target:
    """Return the target.

    Args:
        columns: of the documents.
        shard_bytes: of a shard's columns before compression, to within a row.
        group_rows: rows of a row group.

    Raises:
        ConfigError: a size that cannot be.
    """
    check_bytes(shard_bytes)
    if group_rows < 1:
        raise ConfigError(f"target.group_rows {group_rows}; expected at least 1.")
    write_group = functools.partial(write_table, group_rows=group_rows)

    def write(given: Ordered) -> Made:
        return write_sharded(given, Format(".parquet", write_group), shard_bytes, group_rows)

    return Target(tuple(columns), write, stages())


def write_table(path: Path, table: pa.Table, group_rows: int) -> None:
    """Write one file."""
    pa.parquet.write_table(table, path, row_group_size=group_rows, compression="zstd")
