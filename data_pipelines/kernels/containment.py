"""Pairs of documents of which one may stand inside the other: they share rare shingles.

Broder's "mod m" sketch (https://doi.org/10.1109/SEQUEN.1997.666900): one shingle in SAMPLED, the
same ones in every document, is looked up in all others. Signatures cannot find these pairs, whose
Jaccard similarity is small. Reads sampled shingles, of which all of one value are together; returns
pairs as data_pipelines.kernels.bands does.
"""

import numpy as np

from data_pipelines.kernels.bands import WINDOW, neighbours, unique_pairs

SAMPLED = 4                    # one shingle in so many is looked up in other documents


def sharing(shingles: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of documents that share rare shingles, int64 [m, 2], and how many, int64 [m].

    A shingle in more than WINDOW documents is boilerplate, such as a licence header, and no
    evidence.

    Args:
        shingles: uint64 [n].
        documents: int64 [n], whose they are.
    """
    order = np.lexsort((documents, shingles))
    shingles = shingles[order]
    first = np.flatnonzero(np.append(True, shingles[1:] != shingles[:-1])[:len(shingles)])
    size = np.diff(np.append(first, len(shingles)))
    rare = np.repeat((size > 1) & (size <= WINDOW), size)
    return tally([*neighbours(shingles[rare], documents[order[rare]])])


def tally(found: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct pairs, int64 [n, 2], and how often each was found, int64 [n]."""
    if not found:
        return unique_pairs(np.empty((0, 2), np.int64)), np.empty(0, np.int64)
    pairs = np.concatenate(found)
    base = int(pairs.max()) + 1
    packed, times = np.unique(pairs[:, 0] * base + pairs[:, 1], return_counts=True)
    return np.stack([packed // base, packed % base], axis=1), times
