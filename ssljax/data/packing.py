"""Pack documents into rows of a fixed length, planned ahead from their lengths alone.

A document of n tokens gives n + 1 predictions (its tokens, then end of text). Two ways to rows of
L predictions:

    best_fit     pieces of at most L are packed best-fit-decreasing in windows: nothing is
                 truncated, only documents beyond L are cut, rows are 99.9 % full
                 (Ding et al. 2024, https://arxiv.org/abs/2404.10830)
    concatenate  documents end to end, split every L: rows are full, and more documents are cut,
                 36 % against 10 % at L 2048 and lengths of web text (Brown et al. 2020, appendix
                 B, https://arxiv.org/abs/2005.14165); attention still ends where documents do

The plan is a pure function of (lengths, L, seed, method), made in windows of bounded size and kept
in the cache, so any row can be read at any time, and a restart does not plan again.
"""

import dataclasses
import functools
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssljax.core.cache import entry
from ssljax.core.errors import DataError
from ssljax.core.rng import hash64
from ssljax.core.source import Packing, Record, SizedSource, Source
from ssljax.data.lengths import with_lengths
from ssljax.data.order import mix64, permute

WINDOW = 65_536     # documents planned together: 99.99 % full rows, some 20 MB at a time
FORMAT = "2"        # raise when the same lengths would give another plan
FILES = {"document": "<i8", "start": "<i8", "length": "<i4", "row_start": "<i8"}


class Pieces(NamedTuple):
    """Pieces in row order: predictions start..start + length of a document, int64 [pieces] each.

    first: bool [pieces], True where a row begins
    """

    document: np.ndarray
    start: np.ndarray
    length: np.ndarray
    first: np.ndarray


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which pieces make up which row.

    folder:    where the arrays below are mapped from, or empty where they are in memory
    document, start, length: [pieces] in row order; predictions start..start + length of a document
    row_start: [rows + 1] into the pieces
    """

    folder: str
    document: np.ndarray
    start: np.ndarray
    length: np.ndarray
    row_start: np.ndarray

    def fill(self, seq_len: int) -> float:
        """Return the fraction of positions that hold a prediction."""
        return float(self.length.sum(dtype=np.int64) / ((len(self.row_start) - 1) * seq_len))

    def __reduce__(self) -> tuple:
        """Pickle the folder alone: a mapped array would pickle its whole content."""
        if self.folder:
            return open_plan, (self.folder,)
        return Plan, tuple(getattr(self, f.name) for f in dataclasses.fields(self))


@functools.cache
def open_plan(folder: str) -> Plan:
    """Map a plan into memory, once a process."""
    # A plain view of the map: np.memmap's own indexing costs a microsecond more.
    return Plan(folder, *(np.asarray(np.memmap(Path(folder, name), dtype, "r"))
                          for name, dtype in FILES.items()))


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


def shuffled(tokens: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (document, its predictions) [n] of all documents, shuffled, WINDOW at a time."""
    key = hash64(seed, "packing")
    for low in range(0, len(tokens), WINDOW):
        documents = permute(np.arange(low, min(low + WINDOW, len(tokens))), len(tokens), key)
        yield documents, tokens[documents].astype(np.int64) + 1


def plan_best_fit(tokens: np.ndarray, seq_len: int, seed: int) -> Iterator[Pieces]:
    """Yield the rows of each window of documents, packed best-fit-decreasing."""
    for documents, predictions in shuffled(tokens, seed):
        which, start, length = cut(predictions, seq_len)
        row = best_fit(length, seq_len)
        order = np.argsort(row, kind="stable")
        first = np.diff(row[order], prepend=-1) > 0
        yield Pieces(documents[which][order], start[order], length[order], first)


def plan_concatenate(tokens: np.ndarray, seq_len: int, seed: int) -> Iterator[Pieces]:
    """Yield the documents end to end, cut wherever a row ends; rows run on across windows."""
    position = 0
    for documents, predictions in shuffled(tokens, seed):
        ends = position + np.cumsum(predictions)
        begins = ends - predictions
        edges = np.arange(-(-position // seq_len) * seq_len, ends[-1], seq_len)
        places = np.union1d(begins, edges)
        which = np.searchsorted(ends, places, side="right")
        length = np.diff(places, append=ends[-1])
        yield Pieces(documents[which], places - begins[which], length, places % seq_len == 0)
        position = int(ends[-1])


METHODS = {"best_fit": plan_best_fit, "concatenate": plan_concatenate}


def write_plan(folder: Path, pieces: Iterator[Pieces]) -> None:
    """Write the files of a plan, a window at a time."""
    count, rows = 0, []
    with (folder / "document").open("wb") as document, (folder / "start").open("wb") as start, \
            (folder / "length").open("wb") as length:
        for part in pieces:
            document.write(part.document.astype("<i8").tobytes())
            start.write(part.start.astype("<i8").tobytes())
            length.write(part.length.astype("<i4").tobytes())
            rows.append(np.flatnonzero(part.first) + count)
            count += len(part.document)
    np.concatenate([*rows, [count]]).astype("<i8").tofile(folder / "row_start")


def make_plan(tokens: np.ndarray, seq_len: int, seed: int, *, method: Packing = "best_fit",
              cache: str = "") -> Plan:
    """Return the plan of documents with `tokens` int64 [documents] tokens each.

    Args:
        tokens: of each document.
        seq_len: predictions of a row.
        seed: of the order in which documents are taken.
        method: see the top of this file.
        cache: folder of plans; without one the plan stays in memory.
    """
    pieces = METHODS[method](tokens, seq_len, seed)
    if not cache:
        with tempfile.TemporaryDirectory() as folder:
            write_plan(Path(folder), pieces)
            return Plan("", *(np.fromfile(Path(folder, n), d) for n, d in FILES.items()))
    key = {"lengths": lengths_hash(tokens), "documents": len(tokens), "seq_len": seq_len,
           "seed": seed, "method": method, "window": WINDOW, "format": FORMAT}
    return open_plan(str(entry(cache, "plans", key, lambda folder: write_plan(folder, pieces))))


def lengths_hash(tokens: np.ndarray) -> str:
    """Return a hash of documents' lengths."""
    return hashlib.sha256(np.ascontiguousarray(tokens, "<i8").data).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class PackedSource:
    """A source whose records are planned rows: {"id", "pieces": [int32 [length + 1], ...]}.

    A piece holds its inputs and targets: predictions are piece[:-1] -> piece[1:].
    """

    source: Source
    seq_len: int
    end_of_text: int
    seed: int
    method: Packing
    plan: Plan
    salt: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.plan.row_start) - 1

    def read(self, indices: np.ndarray) -> Sequence[Record]:
        """Return the planned rows at `indices`."""
        bounds = [range(*self.plan.row_start[i:i + 2].tolist()) for i in indices]
        needed = np.unique([self.plan.document[piece] for row in bounds for piece in row])
        texts = dict(zip(needed.tolist(), self.source.read(needed), strict=True))
        ids = mix64(np.uint64(self.salt) + np.asarray(indices).astype(np.uint64))
        return [{"id": id, "pieces": [self._piece(piece, texts) for piece in row]}
                for id, row in zip(ids.view(np.uint32).reshape(-1, 2), bounds, strict=True)]

    def fingerprint(self) -> Mapping[str, str]:
        """Return the documents' fingerprint and what the plan was made from."""
        return {**self.source.fingerprint(), "packing": f"{self.method} {self.seq_len}/{FORMAT}",
                "end_of_text": str(self.end_of_text), "packing_seed": str(self.seed)}

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


def packed(source: Source, *, seq_len: int, end_of_text: int, seed: int,
           method: Packing = "best_fit", cache: str = "") -> PackedSource:
    """Return `source` packed into rows of `seq_len` predictions.

    Args:
        source: records with "tokens"; one that does not know their lengths is read once.
        seq_len: predictions of a row.
        end_of_text: the id that ends every document.
        seed: of the plan.
        method: see the top of this file.
        cache: folder of plans and lengths.

    Raises:
        DataError: the source is empty, or its records have no tokens.
    """
    if not len(source):
        raise DataError(f"The dataset has no documents: {dict(source.fingerprint())}. "
                        "Curate it again with more input.")
    lengths = (source if isinstance(source, SizedSource) else with_lengths(source, cache)).lengths()
    plan = make_plan(lengths, seq_len, seed, method=method, cache=cache)
    salt = hash64("rows", *map(str, source.fingerprint().items())) >> 1
    return PackedSource(source, seq_len, end_of_text, seed, method, plan, salt)
