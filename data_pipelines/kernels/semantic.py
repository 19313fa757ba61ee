"""Documents that mean the same, by any embedding: k-means, then cosines within each cluster.

SemDeDup (Abbas et al. 2023, https://arxiv.org/abs/2303.09540), with the survivor chosen by
preference in place of the distance from the centroid. Clusters bound the work: n / k comparisons a
document; what a border of clusters separates is not found. Clusters are independent of each other,
so partitions by cluster give the survivors of the whole.

Embeddings are float32 [n, E] of unit length, in order of preference, so that nothing depends on the
order of input; similarities are rounded to 1e-5. BLAS libraries, and the same one for another
number of rows, differ below 1e-15 in float64: of 10^10 similarities one may round to another side.
"""

import numpy as np

BLOCK = 1024                   # rows of similarities at a time
DIGITS = 5


def unit(embeddings: np.ndarray) -> np.ndarray:
    """Return the rows at length one, float32; a row of zeros stays."""
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    return (embeddings / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def centroids(embeddings: np.ndarray, clusters: int, *, seed: int, rounds: int = 10,
              sample: int = 1 << 16) -> np.ndarray:
    """Return the centres of spherical k-means, float32 [clusters, E].

    Args:
        embeddings: float32 [n, E], unit rows.
        clusters: number of centres; at most n.
        seed: of the rows that it begins with.
        rounds: assignments and means.
        sample: rows it learns from.
    """
    draw = np.random.default_rng(seed)
    rows = np.sort(draw.permutation(len(embeddings))[:sample])
    learnt = embeddings[rows]
    centres = learnt[np.sort(draw.permutation(len(learnt))[:clusters])]
    for _ in range(rounds):
        nearest = assign(learnt, centres)
        sums = np.zeros((len(centres), embeddings.shape[1]))
        np.add.at(sums, nearest, learnt)
        empty = np.bincount(nearest, minlength=len(centres)) == 0
        sums[empty] = centres[empty]
        centres = unit(sums)
    return centres


def assign(embeddings: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the nearest centre of each row, the first of equals, int64 [n]."""
    return np.concatenate([np.empty(0, np.int64), *(
        cosines(embeddings[i:i + BLOCK], centres).argmax(axis=1)
        for i in range(0, len(embeddings), BLOCK))])


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the similarities of unit rows, float64 [n, m]."""
    return np.round(left.astype(np.float64) @ right.T.astype(np.float64), DIGITS)


def representatives(embeddings: np.ndarray, at_least: float) -> np.ndarray:
    """Return the survivor of each row of one cluster, itself where it survives, int64 [n].

    In order, a row that is as similar as `at_least` to a survivor is represented by the first such:
    never through a chain, and without a list of pairs.
    """
    survivor = np.arange(len(embeddings))
    stay = np.empty(0, np.int64)
    for start in range(0, len(embeddings), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(embeddings)))
        if len(stay):
            alike = cosines(embeddings[block], embeddings[stay]) >= at_least
            found = alike.any(axis=1)
            survivor[block[found]] = stay[alike[found].argmax(axis=1)]
            block = block[~found]
        stay = np.append(stay, settle(embeddings[block], block, at_least, survivor))
    return survivor


def settle(embeddings: np.ndarray, rows: np.ndarray, at_least: float,
           survivor: np.ndarray) -> np.ndarray:
    """Settle the rows of one block among themselves in `survivor`; return those that stay."""
    alike = cosines(embeddings, embeddings) >= at_least
    open_rows = np.ones(len(rows), bool)
    stay = []
    for i in range(len(rows)):
        if open_rows[i]:
            stay.append(rows[i])
            taken = alike[i] & open_rows
            survivor[rows[taken]] = rows[i]
            survivor[rows[i]] = rows[i]
            open_rows &= ~taken
    return np.array(stay, np.int64)
