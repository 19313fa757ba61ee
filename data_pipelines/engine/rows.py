"""Arrays of single rows on disk, fetched by row number: what pairs of documents are verified with.

A file of fixed records (row, start, stop, the step's own fields) and one of uint64 values. Only the
records asked for are read, so memory is that of the rows in hand; a random read of 2 kB costs some
5 us, where shipping the same sequences to each pair's partition would rewrite the corpus. What
stands close together on disk is read at once.
"""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines.engine.plan import Rows
from data_pipelines.kernels.distinct import distinct
from data_pipelines.kernels.minhash import ranges

PLACE = [("row", np.int64), ("start", np.int64), ("stop", np.int64)]
GAP = 512                      # values between two wanted sequences that are read, not skipped


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
    parts = [fetch_block(Path(folders[b]), name, wanted[block == b]) for b in distinct(block)]
    records = np.concatenate([r for r, _ in parts])
    lengths = records["stop"] - records["start"]
    return Rows(records["row"], records,
                np.concatenate([np.empty(0, np.uint64), *(v for _, v in parts)]),
                np.append(0, np.cumsum(lengths)))


def fetch_block(folder: Path, name: str, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the records of some rows of one block, and their sequences end to end."""
    # Mapped for as long as it takes: 512 bytes a signature, of which few are wanted.
    index = np.load(folder / f"{name}.npy", mmap_mode="r")
    records = index[np.searchsorted(index["row"], wanted)]
    return records, read_ranges(folder / f"{name}.values", records["start"], records["stop"])


def read_ranges(path: Path, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Return some ranges of a file of uint64, increasing and apart, end to end."""
    filled = stops > starts
    starts, stops = starts[filled], stops[filled]
    made = np.empty(int((stops - starts).sum()), np.uint64)
    if not len(made):
        return made
    bounds = [0, *(np.flatnonzero(starts[1:] - stops[:-1] > GAP) + 1).tolist(), len(starts)]
    descriptor, at = os.open(path, os.O_RDONLY), 0
    try:
        for first, last in itertools.pairwise(bounds):
            base = int(starts[first])
            read = np.frombuffer(os.pread(descriptor, 8 * (int(stops[last - 1]) - base), 8 * base),
                                 np.uint64)
            for start, stop in zip((starts[first:last] - base).tolist(),
                                   (stops[first:last] - base).tolist(), strict=True):
                made[at:at + stop - start] = read[start:stop]
                at += stop - start
    finally:
        os.close(descriptor)
    return made


def read_bytes(folders: Sequence[str], starts: Sequence[int], name: str, rows: np.ndarray,
               begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return some bytes of rows' values end to end, uint8, in the order asked for.

    Args:
        folders: of each block.
        starts: first row of each block, increasing.
        name: of the arrays.
        rows: int64 [n], in any order, also repeatedly.
        begins: int64 [n], first byte of each.
        ends: int64 [n], where each ends.
    """
    sizes = ends - begins
    places = np.append(0, np.cumsum(sizes))
    made = np.empty(int(places[-1]), np.uint8)
    block = np.searchsorted(starts, rows, "right") - 1
    for number in distinct(block):
        some = np.flatnonzero(block == number)
        index = np.load(Path(folders[number]) / f"{name}.npy", mmap_mode="r")
        base = 8 * index["start"][np.searchsorted(index["row"], rows[some])]
        # One block is mapped at a time, and reads of a hundred bytes need no call each.
        values = np.memmap(Path(folders[number]) / f"{name}.values", np.uint8, "r")
        made[ranges(places[some], sizes[some])] = values[ranges(base + begins[some], sizes[some])]
    return made
