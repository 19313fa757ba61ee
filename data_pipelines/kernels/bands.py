"""Pairs of documents that may resemble each other: those that agree in a band of their signatures.

Locality-sensitive hashing (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", ch. 3,
http://www.mmds.org): a signature is cut into bands of `rows` columns; a pair of similarity s
agrees in one of b bands with probability 1 - (1 - s^rows)^b. A band is one sort of its keys: 28
million keys took 2 CPU-seconds and 0.1 GB where a group-by took 9 and 2.3 GB. Bands are independent
of each other, and so are the keys of one band with different prefixes: `band_pairs` of any such
partition together give the pairs of the whole.

The work is bounded: a document has at most WINDOW + 1 candidates a band, however many documents
have the same band. Documents are numbers in the order of preference as survivors, smallest first;
pairs are int64 [n, 2] with the smaller number first, sorted.
"""

from collections.abc import Iterator

import numpy as np

from data_pipelines.kernels.distinct import distinct
from data_pipelines.kernels.words import mix

WINDOW = 32                    # neighbours compared in a bucket
BLOCK = 1 << 13                # pairs whose signatures are compared at a time: 1 KiB each
STEP = np.uint64(0x9E3779B97F4A7C15)


def band_keys(signatures: np.ndarray, rows: int) -> np.ndarray:
    """Return the keys of every band, uint64 [bands, documents]; equal bands have equal keys.

    Args:
        signatures: uint32 [documents, columns].
        rows: columns of a band; fewer find less similar pairs, and more that are none.
    """
    bands = [fold(signatures[:, i:i + rows]) for i in range(0, signatures.shape[1], rows)]
    return np.stack(bands)


def fold(columns: np.ndarray) -> np.ndarray:
    """Return one uint64 for each row of uint32 [documents, rows]; equal rows, equal numbers."""
    folded = np.zeros(len(columns), np.uint64)
    for column in columns.T:
        folded = mix(folded + column + STEP)
    return folded


def band_pairs(keys: np.ndarray, following: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Return the candidates of one partition of one band, int64 [n, 2].

    Args:
        keys: uint64 [n], the band's keys; all of one value are in one partition.
        following: uint64 [n], keys of the next band: within a bucket, documents that share this
            one too stand side by side.
        documents: int64 [n], their numbers.
    """
    order = np.lexsort((documents, following, keys))
    keys, documents = keys[order], documents[order]
    shared = repeated(keys)                  # most keys are alone; they need no comparing
    keys, documents = keys[shared], documents[shared]
    found = [*neighbours(keys, documents), leaders(keys, documents)]
    return unique_pairs(np.concatenate(found))


def repeated(keys: np.ndarray) -> np.ndarray:
    """Return where a sorted array equals a neighbour, bool [n]."""
    result = np.zeros(len(keys), bool)
    same = keys[1:] == keys[:-1]
    result[1:] |= same
    result[:-1] |= same
    return result


def neighbours(keys: np.ndarray, documents: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pairs of documents at most WINDOW places apart in a run of equal keys."""
    for distance in range(1, WINDOW + 1):
        at = np.flatnonzero(keys[distance:] == keys[:-distance])
        if not len(at):
            return
        yield np.stack([documents[at], documents[at + distance]], axis=1)


def leaders(keys: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Return pairs of each document and the smallest of its run: large families have one centre."""
    if not len(keys):
        return np.empty((0, 2), np.int64)
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    sizes = np.diff(np.append(first, len(keys)))
    leader = np.repeat(np.minimum.reduceat(documents, first), sizes)
    return np.stack([leader, documents], axis=1)[leader != documents]


def unique_pairs(pairs: np.ndarray) -> np.ndarray:
    """Return the distinct pairs, smaller document first, sorted, int64 [n, 2]."""
    if not len(pairs):
        return np.empty((0, 2), np.int64)
    base = int(pairs.max()) + 1
    packed = distinct(pairs.min(axis=1) * base + pairs.max(axis=1))
    return np.stack([packed // base, packed % base], axis=1)


def agreement(signatures: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the share of columns in which each pair agrees, float64 [n].

    A pair of similarity s agrees in a share of mean s and standard deviation about
    sqrt(s (1 - s) / columns).
    """
    result = np.empty(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        left, right = pairs[start:start + BLOCK].T
        result[start:start + BLOCK] = (signatures[left] == signatures[right]).mean(axis=1)
    return result
