"""Blocks: the documents of a corpus in Arrow files of bounded size, in the order of the input.

A block is read with the verdicts of the grouped steps since it was written, so that the text is
not copied for each. Reads and writes tables of documents (data_pipelines/table.py).
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.engine.sort import read_partition
from data_pipelines.table import kept, name_step

BLOCK_BYTES = 16 << 20         # by `row_bytes`
# LZ4 halves prose at 0.5 GB/s a core; what is written once is read three times.
OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class Block(NamedTuple):
    """One file of documents, and what it holds; the paths of a stage's tasks are plain data."""

    path: str
    rows: int
    kept: int
    bytes: int


class Verdicts(NamedTuple):
    """What a grouped step judged: the step, and its channel partitioned by block."""

    step: Any
    paths: tuple[str, ...]


class Blocks(NamedTuple):
    """A corpus: its blocks in order, and the steps still to be applied as they are read.

    key:     of what it depends on
    pending: verdicts in the order of their steps
    """

    key: str
    blocks: tuple[Block, ...]
    pending: tuple[Verdicts, ...] = ()
    dropped: int = 0

    @property
    def rows(self) -> int:
        """Return the number of documents."""
        return sum(b.rows for b in self.blocks)

    @property
    def kept(self) -> int:
        """Return the number of documents that nothing has dropped."""
        return sum(b.kept for b in self.blocks) - self.dropped

    @property
    def bytes(self) -> int:
        """Return the bytes of all texts, images and recordings."""
        return sum(b.bytes for b in self.blocks)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Return the documents and bytes of each block."""
        return [(b.rows, b.bytes) for b in self.blocks]

    def starts(self) -> list[int]:
        """Return the number of the first row of each block."""
        return list(itertools.accumulate([0, *(b.rows for b in self.blocks)]))[:-1]


def text_bytes(table: pa.Table) -> np.ndarray:
    """Return the UTF-8 bytes of each text, int64 [rows]."""
    sizes = pc.fill_null(pc.binary_length(table["text"]), 0)
    return sizes.to_numpy().astype(np.int64)


def row_bytes(table: pa.Table) -> np.ndarray:
    """Return the bytes of each row's text and of its columns of images or audio, int64 [rows]."""
    total = text_bytes(table)
    for name, field in zip(table.schema.names, table.schema, strict=True):
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            total = total + pc.fill_null(pc.binary_length(table[name]), 0).to_numpy()
    return total


def cut(tables: Iterable[pa.Table], size: int, rows: int = 1 << 16) -> Iterator[pa.Table]:
    """Yield the rows of tables in pieces, each ended by the row that brings it to `size` bytes.

    Args:
        tables: of documents, of any sizes.
        size: of a piece by `row_bytes`.
        rows: most rows of a piece.
    """
    waiting: list[pa.Table] = []
    held = count = 0
    for table in tables:
        start, sizes = 0, row_bytes(table)
        for row, own in enumerate(sizes.tolist(), 1):
            held, count = held + own, count + 1
            if held >= size or count >= rows:
                yield pa.concat_tables([*waiting, table.slice(start, row - start)])
                waiting, held, count, start = [], 0, 0, row
        if start < table.num_rows:
            waiting.append(table.slice(start))
    if waiting:
        yield pa.concat_tables(waiting)


def write_block(path: Path, table: pa.Table) -> Block:
    """Write one block; its path in the result is the file's name, as folders are renamed."""
    table = table.combine_chunks()
    with pa.ipc.new_file(path, table.schema, options=OPTIONS) as file:
        file.write_table(table)
    return Block(path.name, table.num_rows, len(kept(table)), int(row_bytes(table).sum()))


def read_block(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the documents of a block as they were written, all columns or some."""
    with pa.OSFile(path, "rb") as file:
        options = pa.ipc.IpcReadOptions()
        if columns is not None:
            with pa.ipc.open_file(file) as reader:
                names = reader.schema.names
            options.included_fields = [names.index(c) for c in columns if c in names]
            file.seek(0)
        with pa.ipc.open_file(file, options=options) as reader:
            return reader.read_all()


def judged(path: str, number: int, first: int, pending: Sequence[Verdicts]) -> pa.Table:
    """Return a block with the verdicts of every pending step.

    Args:
        path: of the block.
        number: which of the corpus it is.
        first: number of its first row.
        pending: as in `Blocks`, with steps resolved.
    """
    table = read_block(path)
    for step, paths in pending:
        verdicts = read_partition(paths, number)
        at = verdicts.schema.get_field_index("row")
        table = step.resolve().apply(table, verdicts.set_column(
            at, "row", pc.subtract(verdicts["row"], first)))
        table = name_step(table, step.name)
    return table
