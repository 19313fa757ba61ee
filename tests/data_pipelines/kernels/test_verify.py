"""Shingles in common against sets in plain Python."""

import itertools

import numpy as np
import pytest

from data_pipelines.kernels import verify
from data_pipelines.kernels.minhash import Shingles


@pytest.fixture
def random_sets():
    draw = np.random.default_rng(1)
    return [set(draw.choice(60, draw.integers(0, 40), replace=False).tolist()) for _ in range(30)]


def as_shingles(sets):
    arrays = [np.array(sorted(s), np.uint64) for s in sets]
    return Shingles(np.concatenate(arrays), np.append(0, np.cumsum([len(a) for a in arrays])))


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_common_counts_are_exact_in_blocks_of_any_size(random_sets, block, monkeypatch):
    monkeypatch.setattr(verify, "BLOCK", block)
    pairs = np.array(list(itertools.combinations(range(30), 2)))
    counted = verify.common(as_shingles(random_sets), pairs)
    assert counted.tolist() == [len(random_sets[a] & random_sets[b]) for a, b in pairs]


def test_similarity_is_jaccard_and_share_of_the_smaller(random_sets):
    pairs = np.array([p for p in itertools.combinations(range(30), 2)
                      if random_sets[p[0]] and random_sets[p[1]]])
    sets = as_shingles(random_sets)
    jaccard, share = verify.similarity(verify.common(sets, pairs), sets.counts()[pairs])
    for (a, b), j, s in zip(pairs, jaccard, share, strict=True):
        x, y = random_sets[a], random_sets[b]
        assert j == len(x & y) / len(x | y) and s == len(x & y) / min(len(x), len(y))


def test_no_pairs_are_nothing(random_sets):
    none = np.empty((0, 2), np.int64)
    assert verify.common(as_shingles(random_sets), none).shape == (0,)
