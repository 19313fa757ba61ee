"""Which documents resemble each other: candidates by hashing, then checked exactly.

Candidates come from bands of MinHash signatures (Broder 1997; Leskovec et al., "Mining of Massive
Datasets", ch. 3), which find documents alike as wholes, and from rare shingles in common (Broder's
"mod m" sketch), which find a document inside a longer one. No candidate is believed: `shared`
counts common shingles exactly. Documents are numbers; all arrays of pairs are int64 [n, 2] with
the smaller number first, sorted. The work is bounded: a document has at most `WINDOW` candidates
a band, however many documents have the same band.
"""

from collections.abc import Iterator

import numpy as np

from data_pipelines.shingles import Shingles, mix

WINDOW = 32                    # neighbours compared in a bucket; most documents of a rare shingle
SAMPLED = 4                    # one shingle in so many is looked up in other documents
BLOCK = 1 << 16                # pairs whose signatures are compared at a time: 1 KiB each


def alike(signatures: np.ndarray, rows: int, at_least: float) -> np.ndarray:
    """Return pairs that agree in a whole band of `rows` columns and in a share of all columns.

    Args:
        signatures: uint32 [documents, permutations].
        rows: columns of a band; fewer find less similar pairs, and more that are none.
        at_least: share of columns that must agree. A pair of similarity s agrees in a share of
            mean s and standard deviation sqrt(s (1 - s) / permutations).
    """
    documents, permutations = signatures.shape
    bands = np.stack([fold(signatures[:, i:i + rows]) for i in range(0, permutations, rows)])
    found = np.empty(0, np.int64)
    for band, following in zip(bands, np.roll(bands, -1, axis=0), strict=True):
        # Within a bucket, documents that also share the next band stand side by side.
        order = np.lexsort((np.arange(documents), following, band))
        found = np.union1d(found, pack(np.concatenate(
            [*neighbours(band[order], order), leaders(band[order], order)]), documents))
    pairs = unpack(found, documents)
    return pairs[agreement(signatures, pairs) >= at_least]


def fold(columns: np.ndarray) -> np.ndarray:
    """Return one uint64 for each row of uint32 [documents, rows]; equal rows, equal numbers."""
    folded = np.zeros(len(columns), np.uint64)
    for column in columns.T:
        folded = mix(folded + column + np.uint64(0x9E3779B97F4A7C15))
    return folded


def neighbours(keys: np.ndarray, order: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pairs of documents at most WINDOW places apart in a run of equal keys."""
    for distance in range(1, WINDOW + 1):
        at = np.flatnonzero(keys[distance:] == keys[:-distance])
        if not len(at):
            return
        yield np.stack([order[at], order[at + distance]], axis=1)


def leaders(keys: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return pairs of each document and the smallest of its run: large families have one centre."""
    if not len(keys):
        return np.empty((0, 2), np.int64)
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    leader = np.repeat(np.minimum.reduceat(order, first), np.diff(np.append(first, len(keys))))
    return np.stack([leader, order], axis=1)[leader != order]


def pack(pairs: np.ndarray, documents: int) -> np.ndarray:
    """Return each pair as one number, smaller document first, int64 [n]."""
    return pairs.min(axis=1) * documents + pairs.max(axis=1)


def unpack(packed: np.ndarray, documents: int) -> np.ndarray:
    """Return the pairs of `pack`."""
    return np.stack(np.divmod(packed, max(1, documents)), axis=1)


def agreement(signatures: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the share of columns in which each pair agrees, float64 [n]."""
    result = np.empty(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        left, right = pairs[start:start + BLOCK].T
        result[start:start + BLOCK] = (signatures[left] == signatures[right]).mean(axis=1)
    return result


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
    found = [pack(p, len(counts)) for p in neighbours(keys[rare], order[rare])]
    packed, common = np.unique(np.concatenate([np.empty(0, np.int64), *found]), return_counts=True)
    pairs = unpack(packed, len(counts))
    smaller = np.bincount(owners[sampled], minlength=len(counts))[pairs].min(axis=1)
    return pairs[common >= np.maximum(1, smaller * at_least / 2)]


def shared(shingles: Shingles, pairs: np.ndarray) -> np.ndarray:
    """Return how many distinct shingles each pair has in common, exactly, int64 [n]."""
    result = np.zeros(len(pairs), np.int64)
    for at, (left, right) in enumerate(pairs):
        a, b = sorted((shingles.of(left), shingles.of(right)), key=len)
        result[at] = (b[np.minimum(np.searchsorted(b, a), len(b) - 1)] == a).sum()
    return result


def survivors(documents: int, pairs: np.ndarray) -> np.ndarray:
    """Return the survivor of each document, itself where it survives, int64 [documents].

    In order, a document that resembles a survivor is represented by the first such; so everything
    dropped resembles its own survivor directly, not through a chain of others.
    """
    survivor = np.arange(documents)
    for first, second in pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]:
        if survivor[second] == second and survivor[first] == first:
            survivor[second] = first
    return survivor


def components(documents: int, pairs: np.ndarray) -> list[int]:
    """Return the connected component of each document, named by its smallest (union-find)."""
    parent = list(range(documents))

    def root(document: int) -> int:
        while parent[document] != document:
            parent[document] = document = parent[parent[document]]
        return document

    for first, second in pairs.tolist():
        a, b = sorted((root(first), root(second)))
        parent[b] = a
    return [root(d) for d in range(documents)]
