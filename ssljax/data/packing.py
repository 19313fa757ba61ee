"""Pack documents into rows of a fixed length, planned ahead from their lengths alone.

A document of n tokens gives n + 1 predictions (its tokens, then end of text). They are cut into
pieces of at most L, and pieces are packed best-fit-decreasing in blocks: nothing is truncated and
rows are full but for a few hundredths of a percent (Ding et al. 2024, https://arxiv.org/abs/2404.10830).
The plan is a pure function of (lengths, L, seed), so any row can be read at any time.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ssljax.core.errors import DataError
from ssljax.core.rng import hash64
from ssljax.core.source import Record, SizedSource
from ssljax.data.order import mix64

BLOCK = 65_536      # pieces packed together: 99.99 % full rows, and a bounded plan


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which pieces make up which row.

    document, start, length: int64 [pieces]; predictions start..start + length of a document
    row_start: int64 [rows + 1] into items
    items: int64 [pieces], piece numbers in row order
    """

    document: np.ndarray
    start: np.ndarray
    length: np.ndarray
    row_start: np.ndarray
    items: np.ndarray

    def fill(self, seq_len: int) -> float:
        """Return the fraction of positions that hold a prediction."""
        return float(self.length.sum() / ((len(self.row_start) - 1) * seq_len))


def cut(predictions: np.ndarray, seq_len: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut documents of `predictions` [n] into pieces; return (document, start, length) of each."""
    pieces = -(-predictions // seq_len)
    document = np.repeat(np.arange(len(predictions)), pieces)
    first = np.repeat(np.cumsum(pieces) - pieces, pieces)
    start = (np.arange(len(document)) - first) * seq_len
    return document, start, np.minimum(seq_len, predictions[document] - start)


def best_fit(lengths: np.ndarray, seq_len: int) -> np.ndarray:
    """Return the row of each piece, int64 [pieces], by best-fit-decreasing.

    Rows with equal free space are interchangeable, so a heap of open rows by free space, with the
    set of free sizes as bits of one integer, finds the tightest row that fits in O(1).
    """
    order = np.argsort(-lengths, kind="stable")
    rows = np.empty(len(lengths), np.int64)
    open_rows: list[list[int]] = [[] for _ in range(seq_len + 1)]
    sizes, count = 0, 0
    for piece in order.tolist():
        length = int(lengths[piece])
        fits = sizes >> length
        if fits:
            free = length + (fits & -fits).bit_length() - 1
            row = open_rows[free].pop()
            if not open_rows[free]:
                sizes &= ~(1 << free)
        else:
            free, row, count = seq_len, count, count + 1
        rows[piece] = row
        if free > length:
            open_rows[free - length].append(row)
            sizes |= 1 << (free - length)
    return rows


def make_plan(tokens: np.ndarray, seq_len: int, seed: int) -> Plan:
    """Plan the rows of documents with `tokens` int64 [documents] tokens each."""
    document, start, length = cut(tokens + 1, seq_len)
    generator = np.random.Generator(np.random.Philox(key=hash64(seed, "packing")))
    shuffled = generator.permutation(len(document))
    row = np.empty(len(document), np.int64)
    rows = 0
    for block in np.split(shuffled, range(BLOCK, len(shuffled), BLOCK)):
        row[block] = best_fit(length[block], seq_len) + rows
        rows = int(row[block].max()) + 1
    items = np.lexsort((shuffled, row))
    row_start = np.searchsorted(row[items], np.arange(rows + 1))
    return Plan(document, start, length, row_start, items)


@dataclasses.dataclass(frozen=True)
class PackedSource:
    """A source whose records are planned rows: {"id", "pieces": [int32 [length + 1], ...]}.

    A piece holds its inputs and targets: predictions are piece[:-1] -> piece[1:].
    """

    source: SizedSource
    seq_len: int
    end_of_text: int
    seed: int
    plan: Plan

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.plan.row_start) - 1

    def read(self, indices: np.ndarray) -> Sequence[Record]:
        """Return the planned rows at `indices`."""
        bounds = [self.plan.row_start[i:i + 2] for i in indices]
        items = [self.plan.items[low:high] for low, high in bounds]
        documents = np.unique(self.plan.document[np.concatenate(items)])
        texts = dict(zip(documents.tolist(), self.source.read(documents), strict=True))
        return [{"id": self._id(int(i)), "pieces": [self._piece(int(p), texts) for p in row]}
                for i, row in zip(indices, items, strict=True)]

    def fingerprint(self) -> Mapping[str, str]:
        """Return the documents' fingerprint and what the plan was made from."""
        return {**self.source.fingerprint(), "packing": f"best-fit-{BLOCK}/1",
                "seq_len": str(self.seq_len), "packing_seed": str(self.seed)}

    def _id(self, row: int) -> np.ndarray:
        return mix64(np.array([row], np.uint64)).view(np.uint32)

    def _piece(self, piece: int, texts: Mapping[int, Record]) -> np.ndarray:
        """Return tokens start..start + length of end_of_text + document + end_of_text."""
        plan = self.plan
        tokens = texts[int(plan.document[piece])]["tokens"]
        low, length = int(plan.start[piece]), int(plan.length[piece])
        window = np.full(length + 1, self.end_of_text, np.int32)
        inside = tokens[max(low - 1, 0):low + length]
        skip = 1 if low == 0 else 0
        window[skip:skip + len(inside)] = inside
        return window


def packed(source: SizedSource, *, seq_len: int, end_of_text: int, seed: int) -> PackedSource:
    """Return `source` packed into rows of `seq_len` predictions.

    Raises:
        DataError: the source is empty.
    """
    if not len(source):
        raise DataError(f"The dataset has no documents: {dict(source.fingerprint())}. "
                        "Curate it again with more input.")
    plan = make_plan(np.asarray(source.lengths(), np.int64), seq_len, seed)
    return PackedSource(source, seq_len, end_of_text, seed, plan)
