"""Pairs of documents of which one may stand inside the other: they share rare shingles.

Broder's "mod m" sketch (https://doi.org/10.1109/SEQUEN.1997.666900): one shingle in SAMPLED, the
same ones in every document, is looked up in all others. Signatures cannot find these pairs, whose
Jaccard similarity is small. Reads shingle sets; returns pairs as data_pipelines.kernels.bands does.
"""

import numpy as np

from data_pipelines.kernels.bands import WINDOW, neighbours, unique_pairs
from data_pipelines.kernels.minhash import Shingles

SAMPLED = 4                    # one shingle in so many is looked up in other documents


def containing(shingles: Shingles, at_least: float) -> np.ndarray:
    """Return pairs of which the smaller seems to have a share of its shingles in the larger.

    A shingle in more than WINDOW documents is boilerplate, such as a licence header, and no
    evidence. Half of `at_least` suffices here, since what remains after sampling is few.
    """
    counts = shingles.counts()
    owners = np.repeat(np.arange(len(counts)), counts)
    sampled = np.flatnonzero(shingles.hashes % np.uint64(SAMPLED) == 0)
    order = np.lexsort((owners[sampled], shingles.hashes[sampled]))
    keys, order = shingles.hashes[sampled][order], owners[sampled][order]
    _, run, size = np.unique(keys, return_inverse=True, return_counts=True)
    rare = (size[run] > 1) & (size[run] <= WINDOW)
    pairs, shared = tally([*neighbours(keys[rare], order[rare])])
    smaller = np.bincount(owners[sampled], minlength=len(counts))[pairs].min(axis=1)
    return pairs[shared >= np.maximum(1, smaller * at_least / 2)]


def tally(found: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct pairs, int64 [n, 2], and how often each was found, int64 [n]."""
    if not found:
        return unique_pairs(np.empty((0, 2), np.int64)), np.empty(0, np.int64)
    pairs = np.concatenate(found)
    base = int(pairs.max()) + 1
    packed, times = np.unique(pairs[:, 0] * base + pairs[:, 1], return_counts=True)
    return np.stack([packed // base, packed % base], axis=1), times
