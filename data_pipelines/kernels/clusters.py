"""Which of the documents that resemble each other survive, the same for any order of pairs.

Documents are numbers in the order of preference as survivors (quality, then length, then id): the
smaller survives. What is dropped resembles its own survivor directly, not through a chain of
others, so a family reaches no farther than one link from its centre: transitive closure wiped out
whole sources elsewhere (https://github.com/marin-community/marin/issues/6854).

Connected components are independent of each other: `survivors` of any partition of the pairs that
cuts no component give the survivors of the whole.
"""

from collections.abc import Sequence

import numpy as np


def preference(quality: np.ndarray, lengths: np.ndarray, ids: Sequence[str]) -> np.ndarray:
    """Return the order of preference as survivors, best first, int64 [n].

    Args:
        quality: float64 [n], more is better; NaN is the worst.
        lengths: int64 [n], longer is better where quality is equal.
        ids: the smallest decides between equals.
    """
    return np.lexsort((np.asarray(ids, str), -lengths, -np.nan_to_num(quality, nan=-np.inf)))


def survivors(documents: int, pairs: np.ndarray) -> np.ndarray:
    """Return the survivor of each document, itself where it survives, int64 [documents].

    In order, a document that resembles a survivor is represented by the first such.
    """
    survivor = list(range(documents))
    for first, second in pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))].tolist():
        if survivor[second] == second and survivor[first] == first:
            survivor[second] = first
    return np.array(survivor, np.int64)


def components(documents: int, pairs: np.ndarray) -> np.ndarray:
    """Return the connected component of each document, named by its smallest, int64 [documents].

    Every round hooks roots onto smaller neighbours and halves all paths (Shiloach and Vishkin 1982,
    https://doi.org/10.1016/0196-6774(82)90008-6), so rounds are few and each is arrays only.
    """
    parent = np.arange(documents)
    while len(pairs):
        roots = np.sort(parent[pairs], axis=1)
        pairs = roots[roots[:, 0] != roots[:, 1]]
        np.minimum.at(parent, pairs[:, 1], pairs[:, 0])
        parent = flatten(parent)
    return parent


def flatten(parent: np.ndarray) -> np.ndarray:
    """Return the root of each document: follow parents until nothing moves."""
    while True:
        above = parent[parent]
        if (above == parent).all():
            return parent
        parent = above
