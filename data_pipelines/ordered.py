"""The last tasks of every recipe: documents in the order of a hash, and what became of each.

order    a block -> its kept documents, by split and prefix of the hash of their id
account  a block -> a line of JSON a row, and its rows as Parquet for the snapshot

The hash orders all documents of a split, so that every shard is a fair sample of it; a partition
is a range of hashes. Tasks of the engine (data_pipelines/engine/tasks.py) in all that matters.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from data_pipelines.engine.blocks import Verdicts, judged
from data_pipelines.engine.sort import by_prefix, read_partition, write_partitions
from data_pipelines.table import column, count_dropped, kept
from ssljax.core.errors import ConfigError, nearest
from ssljax.core.rng import hash64

SPLITS = ("train", "validation")
PLACES = pa.schema([("row", pa.int64()), ("record", pa.int64()), ("tokens", pa.int64())])


def order(folder: Path, *, path: str, number: int, first: int, pending: Sequence[Verdicts],
          partitions: int, columns: Sequence[str]) -> dict[str, Any]:
    """Write a block's kept documents for the partitions of each split; count all of them.

    Raises:
        ConfigError: the documents have no such column.
    """
    table = judged(path, number, first, pending)
    for name in columns:
        if name not in table.schema.names:
            raise ConfigError(f'The target writes the column "{name}", which no step made; '
                              f"{nearest(name, table.schema.names)}")
    splits = np.array(column(table, "split"), object)
    for split in SPLITS:
        rows = np.flatnonzero(splits == split)
        taken = table.select(["id", *columns]).take(pa.array(rows))
        keys = np.array([hash64("order", i) for i in column(taken, "id")], np.uint64)
        records = taken.add_column(0, "row", pa.array(rows + first)).add_column(
            0, "key", pa.array(keys))
        write_partitions(folder / f"{split}.arrow", records, by_prefix(keys, partitions),
                         partitions)
    licences = Counter(table["licence"].take(pa.array(kept(table))).to_pylist())
    return {"licences": licences, "dropped": count_dropped(table), "rows": table.num_rows,
            "kept": len(kept(table)), "splits": {s: int((splits == s).sum()) for s in SPLITS}}


def ordered(paths: Sequence[str], partition: int) -> pa.Table:
    """Return the documents of one partition of a split in the order in which they are written."""
    found = read_partition(paths, partition)
    at = np.lexsort((found["row"].to_numpy(), found["key"].to_numpy()))
    return found.take(pa.array(at))


def write_places(path: Path, rows: np.ndarray, tokens: np.ndarray, starts: Sequence[int]) -> None:
    """Write where each row of a partition went, by block.

    Args:
        path: of the new file.
        rows: int64 [n], numbers of rows in the order of their records.
        tokens: int64 [n], of each.
        starts: first row of each block.
    """
    places = pa.table([rows, np.arange(len(rows)), tokens], schema=PLACES)
    write_partitions(path, places, np.searchsorted(starts, rows, "right") - 1, len(starts))


def account(folder: Path, *, path: str, number: int, first: int, pending: Sequence[Verdicts],
            places: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Write what became of every row of a block.

    Args:
        folder: for "lines" and "rows.parquet".
        path: of the block.
        number: which of the corpus it is.
        first: number of its first row.
        pending: verdicts to be applied to it.
        places: (file, number of its first record) of each partition of every split.
    """
    table = judged(path, number, first, pending)
    record, tokens = (np.full(table.num_rows, -1) for _ in range(2))
    for name, base in places:
        found = read_partition([name], number)
        at = found["row"].to_numpy() - first
        record[at], tokens[at] = found["record"].to_numpy() + base, found["tokens"].to_numpy()
    for name, values in (("record", record), ("tokens", tokens)):
        table = table.append_column(name, pa.array(values, mask=values < 0))
    # Images and recordings stay out of the lineage: source, offset and checksum lead to them.
    table = table.drop_columns([f.name for f in table.schema if is_bytes(f.type)])
    write_lines(folder / "lines", table)
    pa.parquet.write_table(lineage(table, first), folder / "rows.parquet", compression="zstd")
    return {"rows": table.num_rows}


def is_bytes(kind: pa.DataType) -> bool:
    """Say whether a column holds bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def lineage(table: pa.Table, first: int) -> pa.Table:
    """Return the rows as snapshots keep them: with their place in the order of the input."""
    table = table.append_column("number", pa.array(np.arange(first, first + table.num_rows)))
    large = {pa.large_string(): pa.string()}
    fields = [f.with_type(large.get(f.type, f.type)) for f in table.schema]
    return table.cast(pa.schema(fields))


def write_lines(path: Path, table: pa.Table) -> None:
    """Write a JSON object a row, without its text."""
    names = [n for n in table.schema.names if n != "text"
             and not pa.types.is_nested(table.schema.field(n).type)]
    rows = table.select(names).rename_columns(
        ["reason" if n == "dropped" else n for n in names]).to_pylist()
    with open(path, "wb") as file:
        for row in rows:
            row["verdict"] = "dropped" if row["reason"] else "kept"
            file.write(json.dumps(row, ensure_ascii=False, default=repr).encode() + b"\n")


def total_of(said: Sequence[dict[str, Any]], name: str) -> dict[str, int]:
    """Return the sum of counters, the largest first."""
    total: Counter[str] = Counter()
    for each in said:
        total.update(each[name])
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
