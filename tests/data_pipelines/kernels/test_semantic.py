"""k-means and survivors against brute force."""

import numpy as np
import pytest

from data_pipelines.kernels import semantic


def families(seed, centres=6, each=40, noise=0.05, width=16):
    draw = np.random.default_rng(seed)
    middle = semantic.unit(draw.normal(size=(centres, width)))
    rows = np.repeat(middle, each, axis=0) + noise * draw.normal(size=(centres * each, width))
    return semantic.unit(rows), np.repeat(np.arange(centres), each)


def test_well_separated_families_are_the_clusters():
    rows, family = families(0)
    nearest = min((semantic.assign(rows, semantic.centroids(rows, 6, seed=s)) for s in range(5)),
                  key=lambda n: -len(set(n.tolist())))
    assert len({(a, b) for a, b in zip(family.tolist(), nearest.tolist(), strict=True)}) <= 7


def test_every_round_brings_rows_nearer_to_their_centres():
    rows, _ = families(1, noise=0.3)
    cost = [1 - (rows * c[semantic.assign(rows, c)]).sum(axis=1).mean()
            for c in (semantic.centroids(rows, 6, seed=0, rounds=r) for r in (0, 1, 3, 10))]
    assert cost == sorted(cost, reverse=True) and cost[-1] < cost[0]


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_survivors_are_the_greedy_ones_in_blocks_of_any_size(monkeypatch, block):
    monkeypatch.setattr(semantic, "BLOCK", block)
    rows, _ = families(2, noise=0.15)
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    stay, expected = [], []
    for i, row in enumerate(rows):
        alike = [s for s in stay if round(float(row @ rows[s]), 5) >= 0.8]
        expected.append(alike[0] if alike else i)
        stay += [] if alike else [i]
    assert 6 < len(stay) < len(rows)
    assert semantic.representatives(rows, 0.8).tolist() == expected


def test_more_clusters_than_rows_and_no_rows():
    rows, _ = families(3, centres=1, each=3)
    assert len(semantic.centroids(rows, 9, seed=0)) == 3
    assert semantic.assign(rows[:0], rows).shape == (0,)
    assert semantic.representatives(rows[:0], 0.9).shape == (0,)
    assert not semantic.unit(np.zeros((1, 4))).any()
