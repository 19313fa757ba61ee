"""ArrayRecord files for Grain: documents, images or recordings by random access.

`ssljax.sources.array_record` reads them, and `ssljax.sources.images` where a column is "image".
A record has the columns asked for, those that are null left out, and "document", its row's id.
Needs the package array_record, of the extra [train].
"""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_pipelines.sharded import SHARD_BYTES, Format, check_bytes, stages, write_sharded
from data_pipelines.target import Made, Ordered, Target
from ssljax.core.errors import MissingExtraError
from ssljax.sources import array_record
from ssljax.sources.parquet import value


def make(*, columns: Sequence[str] = ("text",), shard_bytes: int = SHARD_BYTES) -> Target:
    """Return the target.

    Args:
        columns: fields of a record: strings, bytes, numbers, or lists of numbers.
        shard_bytes: of a shard's fields, to within a record.

    Raises:
        ConfigError: a size that cannot be.
        MissingExtraError: array_record is not installed.
    """
    check_bytes(shard_bytes)
    if importlib.util.find_spec("array_record") is None:
        raise MissingExtraError("array_record", "train")

    def write(given: Ordered) -> Made:
        return write_sharded(given, Format(".array_record", write_table), shard_bytes)

    return Target(tuple(columns), write, stages())


def write_table(path: Path, table: pa.Table) -> None:
    """Write one file of records."""
    array_record.write(str(path), records(table))


def records(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table as records, in order."""
    for row in range(table.num_rows):
        found = {name: value(table[name][row], ()) for name in table.schema.names}
        yield {name: v for name, v in found.items() if v is not None}
