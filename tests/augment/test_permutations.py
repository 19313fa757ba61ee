"""Permutations for jigsaw puzzles: distinct, far apart, the same everywhere."""

import itertools

import numpy as np
import pytest

from ssljax.augment.permutations import distant_permutations
from ssljax.core.errors import ConfigError


def hamming(a, b) -> int:
    return sum(int(x != y) for x, y in zip(a, b, strict=True))


def test_greedy_choice_equals_the_loop_over_all_permutations():
    every = list(itertools.permutations(range(4)))
    chosen = [every[0]]
    while len(chosen) < 7:
        def merit(p, chosen=tuple(chosen)):
            distances = [hamming(p, q) for q in chosen]
            return min(distances), sum(distances)
        chosen.append(max((p for p in every if p not in chosen), key=merit))   # first of equals
    assert distant_permutations(4, 7).tolist() == [list(p) for p in chosen]


def test_nine_tiles_move_all_at_once_as_long_as_they_can():
    table = distant_permutations(9, 100)
    assert np.array_equal(np.sort(table, axis=1), np.tile(np.arange(9), (100, 1)))
    assert len({tuple(row) for row in table}) == 100
    distances = [[hamming(a, b) for b in table[:i]] for i, a in enumerate(table)]
    nearest = [min(d) for d in distances[1:]]
    assert nearest[:7] == [9] * 7                   # no two of the first agree anywhere
    assert nearest == sorted(nearest, reverse=True)
    assert min(nearest) >= 6
    # Random permutations of nine agree in one place on average, and the nearest of 100 in many.
    random = np.stack([np.random.default_rng(i).permutation(9) for i in range(100)])
    among = [hamming(a, b) for i, a in enumerate(random) for b in random[:i]]
    assert min(among) < min(nearest)


def test_all_permutations_may_be_asked_for_and_no_more():
    assert len({tuple(row) for row in distant_permutations(3, 6)}) == 6
    with pytest.raises(ConfigError, match="expected 2 to 6"):
        distant_permutations(3, 7)
    with pytest.raises(ConfigError, match="of 12 tiles: expected 1 to 9"):
        distant_permutations(12, 7)
