"""Near-duplicates of a corpus larger than memory, in one process: shingles wait on disk.

The same survivors as data_pipelines.steps.near_duplicates finds, without its clusters and at twice
its speed. In memory stay signatures and bands, 1.6 kB a document (616 MiB for 258,800), and a block
of shingles at a time; on disk 8 bytes a distinct shingle, about 1.3 times the text.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.kernels import bands, clusters, verify
from data_pipelines.kernels.minhash import Shingles, shingle, signatures
from data_pipelines.table import kept

BLOCK = 1 << 22                # shingles of documents compared at a time: 32 MiB
DEVIATIONS = 4                 # of the estimate below the threshold that are still looked at


class Copies(NamedTuple):
    """What became of each document, in the order of input.

    survivor:   int64 [documents], itself where it survives; documents dropped before survive here
    similarity: float64 [documents], Jaccard similarity to the survivor; 1 to itself
    """

    survivor: np.ndarray
    similarity: np.ndarray


class Spilled(NamedTuple):
    """Documents that were read once; those dropped before are left out.

    numbers:    int64 [n], their place in the input
    preference: int64 [n], places in `numbers`, best first
    starts:     int64 [n + 1], where their shingles are in the file
    signatures: uint32 [n, columns], best first
    total:      documents of the input
    """

    numbers: np.ndarray
    preference: np.ndarray
    starts: np.ndarray
    signatures: np.ndarray
    total: int


def find_copies(tables: Iterable[pa.Table], scratch: Path, *, words: int = 5, columns: int = 128,
                rows: int = 4, drop: float = 0.8, quality: str = "") -> Copies:
    """Return which documents are copies of better ones.

    Args:
        tables: pieces of a table of documents, some thousand rows each; read once.
        scratch: a file for the shingles; deleted at the end.
        words: words of a shingle.
        columns: of a signature, a power of two.
        rows: columns of a band.
        drop: Jaccard similarity from which a document is a copy.
        quality: column of numbers by which survivors are preferred; empty: length and id decide.
    """
    try:
        with scratch.open("wb+") as file:
            read = spill(tables, file, words, columns, quality)
            pairs = bands.alike(read.signatures, rows, drop - DEVIATIONS / 2 / columns**0.5)
            return settle(read, pairs, file, drop)
    finally:
        scratch.unlink(missing_ok=True)


def spill(tables: Iterable[pa.Table], file: BinaryIO, words: int, columns: int,
          quality: str) -> Spilled:
    """Write the shingles of all documents to `file`; return what else is needed of them."""
    numbers, counts, made, lengths, scores, ids = [], [], [], [], [], []
    total = 0
    for table in tables:
        rows = kept(table)
        some = table.take(pa.array(rows, pa.int64())).combine_chunks()
        texts = some["text"].combine_chunks()
        sets = shingle(texts, words)
        file.write(sets.hashes.tobytes())
        made.append(signatures(sets, columns))
        numbers.append(rows + total)
        counts.append(sets.counts())
        lengths.append(pc.utf8_length(pc.utf8_trim_whitespace(texts)).to_numpy())
        scores.append(some[quality].cast(pa.float64()).to_numpy() if quality
                      else np.zeros(len(rows)))
        ids += some["id"].to_pylist()
        total += table.num_rows
    file.flush()
    best = clusters.preference(joined(scores, float), joined(lengths, np.int64), np.array(ids, str))
    signed = np.empty((len(best), columns), np.uint32)
    places, start = np.argsort(best), 0
    for part in made:
        signed[places[start:start + len(part)]] = part
        start += len(part)
    return Spilled(joined(numbers, np.int64), best,
                   np.append(0, np.cumsum(joined(counts, np.int64))), signed, total)


def joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    """Return arrays end to end, also where there are none."""
    return np.concatenate([np.empty(0, dtype), *parts])


def settle(read: Spilled, pairs: np.ndarray, file: BinaryIO, drop: float) -> Copies:
    """Return the survivors, with every candidate pair measured exactly.

    Args:
        read: the documents.
        pairs: int64 [n, 2], candidates as places in `read.preference`, sorted.
        file: their shingles.
        drop: Jaccard similarity from which a document is a copy.
    """
    jaccard = np.concatenate([np.empty(0), *(
        measure(read, some, file) for some in blocks(read, pairs))])
    copies = jaccard >= drop
    pairs, jaccard = pairs[copies], jaccard[copies]
    chosen = clusters.survivors(len(read.preference), pairs)
    taken = chosen[pairs[:, 1]] == pairs[:, 0]
    named = read.numbers[read.preference]
    survivor, similarity = np.arange(read.total), np.ones(read.total)
    survivor[named] = named[chosen]
    similarity[named[pairs[taken, 1]]] = jaccard[taken]
    return Copies(survivor, similarity)


def blocks(read: Spilled, pairs: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the pairs, of some BLOCK shingles together at a time."""
    sizes = np.diff(read.starts)[read.preference]
    new = np.flatnonzero(np.diff(np.cumsum(sizes[pairs].sum(axis=1)) // BLOCK)) + 1
    yield from np.split(pairs, new)


def measure(read: Spilled, pairs: np.ndarray, file: BinaryIO) -> np.ndarray:
    """Return the Jaccard similarity of each pair, float64 [n], from shingles on disk."""
    documents, which = np.unique(pairs, return_inverse=True)
    sets = read_shingles(file, read.starts, read.preference[documents])
    which = which.reshape(-1, 2)
    return verify.similarity(verify.common(sets, which), sets.counts()[which])[0]


def read_shingles(file: BinaryIO, starts: np.ndarray, documents: np.ndarray) -> Shingles:
    """Return the shingles of some documents, in the order asked for."""
    counts = starts[documents + 1] - starts[documents]
    places = np.append(0, np.cumsum(counts))
    hashes = np.empty(places[-1], np.uint64)
    for start, count, place in zip(starts[documents].tolist(), counts.tolist(), places.tolist(),
                                   strict=False):
        hashes[place:place + count] = np.frombuffer(
            os.pread(file.fileno(), count * 8, start * 8), np.uint64)
    return Shingles(hashes, places)
