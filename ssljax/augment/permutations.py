"""Permutations that are far from each other, for jigsaw puzzles; NumPy, the same everywhere.

The choice of Noroozi and Favaro 2016, https://arxiv.org/abs/1603.09246 (algorithm 1): the more two
permutations differ, the less often one tile alone tells them apart or not. Theirs starts at random;
this one starts at the identity and takes the first in lexicographic order among equals.
"""

import functools
import itertools

import numpy as np

from ssljax.core.errors import ConfigError


@functools.cache
def distant_permutations(tiles: int, count: int) -> np.ndarray:
    """Return int32 [count, tiles]: each the farthest (Hamming) from all before it.

    Farthest by the smallest distance, and among equals by the sum of distances. 1,000 permutations
    of 9 tiles take some seconds, once a process.

    Raises:
        ConfigError: there are not so many permutations, or so many tiles that all of them would
            not fit in memory.
    """
    if not 1 <= tiles <= 9:
        raise ConfigError(f"permutations of {tiles} tiles: expected 1 to 9.")
    every = np.array(list(itertools.permutations(range(tiles))), np.int8)
    if not 2 <= count <= len(every):
        raise ConfigError(f"{count} permutations of {tiles} tiles: expected 2 to {len(every):,}.")
    chosen = [0]
    nearest = np.full(len(every), tiles + 1, np.int64)
    total = np.zeros(len(every), np.int64)
    while len(chosen) < count:
        distance = np.count_nonzero(every != every[chosen[-1]], axis=1)
        nearest = np.minimum(nearest, distance)
        total += distance
        # Sums are below tiles * count, so the smallest distance decides first. A permutation that
        # was chosen is at distance 0 and never comes again.
        chosen.append(int(np.argmax(nearest * (tiles * count + 1) + total * (nearest > 0))))
    table = every[chosen].astype(np.int32)
    table.setflags(write=False)
    return table
