"""Arrays of single rows on disk, fetched by row number: what pairs of documents are verified with.

A file of fixed records (row, start, stop, the step's own fields) and one of uint64 values. Only the
records asked for are read, so memory is that of the rows in hand; a random read of 2 kB costs some
10 us, where shipping the same sequences to each pair's partition would rewrite the corpus.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines.engine.plan import Rows

PLACE = [("row", np.int64), ("start", np.int64), ("stop", np.int64)]


def write_rows(folder: Path, name: str, rows: Rows) -> None:
    """Write the arrays of a block's rows as NAME.npy and NAME.values."""
    made = np.empty(len(rows.row), PLACE + rows.fixed.dtype.descr)
    made["row"], made["start"], made["stop"] = rows.row, rows.starts[:-1], rows.starts[1:]
    for field in rows.fixed.dtype.names:
        made[field] = rows.fixed[field]
    np.save(folder / f"{name}.npy", made)
    rows.values.tofile(folder / f"{name}.values")


def fetch(folders: Sequence[str], starts: Sequence[int], name: str, wanted: np.ndarray) -> Rows:
    """Return the arrays of some rows.

    Args:
        folders: of each block.
        starts: first row of each block, increasing.
        name: of the arrays.
        wanted: int64 [n], increasing and distinct.
    """
    block = np.searchsorted(starts, wanted, "right") - 1
    parts = [fetch_block(Path(folders[b]), name, wanted[block == b]) for b in np.unique(block)]
    values = [v for _, found in parts for v in found]
    lengths = [len(v) for v in values]
    records = np.concatenate([r for r, _ in parts])
    return Rows(records["row"], records, np.concatenate([np.empty(0, np.uint64), *values]),
                np.cumsum([0, *lengths], dtype=np.int64))


def fetch_block(folder: Path, name: str, wanted: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the records and the sequences of some rows of one block."""
    # Mapped for as long as it takes: 512 bytes a signature, of which few are wanted.
    index = np.load(folder / f"{name}.npy", mmap_mode="r")
    records = index[np.searchsorted(index["row"], wanted)]
    descriptor = os.open(folder / f"{name}.values", os.O_RDONLY)
    try:
        return records, [np.frombuffer(os.pread(descriptor, 8 * int(stop - start), 8 * int(start)),
                                       np.uint64)
                         for start, stop in zip(records["start"], records["stop"], strict=True)]
    finally:
        os.close(descriptor)
