"""Survivors and components against brute force."""

import numpy as np
import pytest

from data_pipelines.kernels import clusters


def random_pairs(seed, documents, count):
    draw = np.random.default_rng(seed)
    pairs = np.unique(np.sort(draw.integers(0, documents, (count, 2)), axis=1), axis=0)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def test_survivors_resemble_directly_not_through_a_chain():
    # 0 ~ 1 ~ 2, and 0 is unlike 2: 1 goes for 0, and 2 must stay although 1, its like, is gone.
    pairs = np.array([[0, 1], [1, 2], [2, 3]])
    assert clusters.survivors(5, pairs).tolist() == [0, 0, 2, 2, 4]


def test_survivors_do_not_depend_on_the_order_of_pairs():
    pairs = random_pairs(2, 40, 80)
    first = clusters.survivors(40, pairs)
    known = {tuple(p) for p in pairs.tolist()}
    assert all(s == d or ((s, d) in known and first[s] == s) for d, s in enumerate(first.tolist()))
    for seed in range(5):
        turned = np.random.default_rng(seed).permutation(pairs)
        assert (clusters.survivors(40, turned) == first).all()


def test_no_two_survivors_resemble_each_other():
    pairs = random_pairs(3, 200, 300)
    survivor = clusters.survivors(200, pairs)
    stays = survivor == np.arange(200)
    assert not (stays[pairs[:, 0]] & stays[pairs[:, 1]]).any()


def test_components_may_be_settled_apart():
    pairs = random_pairs(4, 300, 150)
    component = clusters.components(300, pairs)
    side = component[pairs[:, 0]] % 3
    parts = [clusters.survivors(300, pairs[side == i]) for i in range(3)]
    assert (np.minimum.reduce(parts) == clusters.survivors(300, pairs)).all()


@pytest.mark.parametrize("count", [0, 40, 400])
def test_components_are_the_reachable_sets_named_by_their_smallest(count):
    pairs = np.random.default_rng(3).integers(0, 60, (count, 2))
    reach = np.eye(60, dtype=bool)
    reach[pairs[:, 0], pairs[:, 1]] = reach[pairs[:, 1], pairs[:, 0]] = True
    for _ in range(60):
        reach = reach @ reach
    assert clusters.components(60, pairs).tolist() == reach.argmax(axis=1).tolist()


def test_a_long_chain_is_one_component():
    chain = np.stack([np.arange(4999), np.arange(1, 5000)], axis=1)
    assert (clusters.components(5000, np.random.default_rng(0).permutation(chain)) == 0).all()


def test_quality_then_length_then_id_prefer():
    order = clusters.preference(np.array([1, 2, 2, np.nan, 2]), np.array([9, 5, 7, 9, 5]),
                                ["a", "c", "z", "d", "b"])
    assert order.tolist() == [2, 4, 1, 0, 3]
