"""External sort by key: records are partitioned by key prefix as they are written, then sorted.

A channel's file is an Arrow file with one record batch a partition, so that a task leaves one file
however many partitions there are, and a reader of partition p takes batch p of every file. Keys
are hashes, hence uniform: partition p holds the keys from p / P to (p + 1) / P of their range, so
the sorted partitions one after the other are the sorted whole. Reads and returns Arrow tables.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

HALF = np.uint64(32)


def by_prefix(keys: np.ndarray, partitions: int) -> np.ndarray:
    """Return the partition of each uint64 key, int64 [n]; increasing in the key."""
    return (((keys >> HALF) * np.uint64(partitions)) >> HALF).astype(np.int64)


def write_partitions(path: Path, table: pa.Table, partition: np.ndarray, partitions: int) -> None:
    """Write a table with a record batch for each partition.

    Args:
        path: of the new file.
        table: the records.
        partition: int64 [rows], of each record.
        partitions: how many there are; empty ones have an empty batch.
    """
    if partitions > 1:
        order = np.argsort(partition, kind="stable")
        table, partition = table.take(pa.array(order)), partition[order]
    table = table.combine_chunks()
    ends = np.searchsorted(partition, np.arange(partitions + 1))
    empty = pa.RecordBatch.from_pylist([], schema=table.schema)
    with pa.ipc.new_file(path, table.schema) as file:
        for start, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            batches = table.slice(start, stop - start).to_batches()
            file.write_batch(batches[0] if batches else empty)


def read_partition(paths: Sequence[str], partition: int) -> pa.Table:
    """Return the records of one partition from every file that has some, in the files' order."""
    batches = []
    for path in paths:
        # Not memory-mapped: pages of a map count against a memory limit on the process.
        with pa.OSFile(str(path), "rb") as file, pa.ipc.open_file(file) as reader:
            batches.append(reader.get_batch(partition))
    return pa.Table.from_batches(batches)


def read_all(paths: Sequence[str]) -> pa.Table:
    """Return the records of all partitions, in the files' order."""
    tables = []
    for path in paths:
        with pa.OSFile(str(path), "rb") as file, pa.ipc.open_file(file) as reader:
            tables.append(reader.read_all())
    return pa.concat_tables(tables)


def checksum(table: pa.Table) -> int:
    """Return a number equal for the same records of integers in any order and partitioning."""
    total = np.zeros(table.num_rows, np.uint64)
    for column in table.columns:
        total = (total ^ column.to_numpy().astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        total ^= total >> np.uint64(29)
    return int((total * np.uint64(0xBF58476D1CE4E5B9)).sum(dtype=np.uint64))
