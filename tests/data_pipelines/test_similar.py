"""Candidates, exact counts, survivors and clusters against brute force."""

import itertools

import numpy as np
import pytest

from data_pipelines import similar
from data_pipelines.shingles import Shingles, shingle, signatures


def as_shingles(sets):
    arrays = [np.array(sorted(s), np.uint64) for s in sets]
    return Shingles(np.concatenate([np.empty(0, np.uint64), *arrays]),
                    np.cumsum([0, *map(len, arrays)]))


def pairs_of(array):
    return {tuple(p) for p in array.tolist()}


@pytest.fixture
def random_sets():
    draw = np.random.default_rng(1)
    return [set(draw.choice(60, draw.integers(0, 40), replace=False).tolist()) for _ in range(30)]


def test_shared_counts_are_exact(random_sets):
    pairs = np.array(list(itertools.combinations(range(30), 2)))
    counted = similar.shared(as_shingles(random_sets), pairs)
    assert counted.tolist() == [len(random_sets[a] & random_sets[b]) for a, b in pairs]


def test_every_pair_alike_is_a_candidate(prose, edited):
    texts = [prose(i) for i in range(20)] + [edited(prose(i), 40) for i in range(20)]
    found = similar.alike(signatures(shingle(texts, 5), 128), 4, 0.5)
    assert pairs_of(found) == {(i, i + 20) for i in range(20)}


def test_a_large_bucket_is_bounded_and_keeps_its_leader():
    same = np.zeros((500, 8), np.uint32)
    found = pairs_of(similar.alike(same, 4, 0.0))
    assert len(found) <= 500 * (similar.WINDOW + 1)
    assert {(0, i) for i in range(1, 500)} <= found


def test_a_document_inside_a_longer_one_is_a_candidate(prose):
    part = prose(1, 200)
    texts = [prose(2, 1500) + part + prose(3, 1500), part, prose(4, 300)]
    assert pairs_of(similar.containing(shingle(texts, 5), 0.5)) == {(0, 1)}


def test_what_many_documents_have_is_boilerplate_and_links_none(prose):
    header = prose(0, 200)
    texts = [header + prose(i, 30) for i in range(1, similar.WINDOW + 3)]
    assert len(similar.containing(shingle(texts, 5), 0.5)) == 0
    assert len(similar.containing(shingle(texts[:5], 5), 0.5)) == 10


def test_survivors_resemble_directly_not_through_a_chain():
    # 0 ~ 1 ~ 2, and 0 is unlike 2: 1 goes for 0, and 2 must stay although 1, its like, is gone.
    pairs = np.array([[0, 1], [1, 2], [2, 3]])
    assert similar.survivors(5, pairs).tolist() == [0, 0, 2, 2, 4]


def test_survivors_do_not_depend_on_the_order_of_pairs():
    draw = np.random.default_rng(2)
    pairs = np.unique(np.sort(draw.integers(0, 40, (80, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    first = similar.survivors(40, pairs)
    known = pairs_of(pairs)
    assert all(s == d or ((s, d) in known and first[s] == s) for d, s in enumerate(first.tolist()))
    for _ in range(5):
        assert (similar.survivors(40, draw.permutation(pairs)) == first).all()


def test_components_are_the_reachable_sets_named_by_their_smallest():
    draw = np.random.default_rng(3)
    pairs = draw.integers(0, 60, (40, 2))
    reach = np.eye(60, dtype=bool)
    reach[pairs[:, 0], pairs[:, 1]] = reach[pairs[:, 1], pairs[:, 0]] = True
    for _ in range(60):
        reach = reach @ reach
    assert similar.components(60, pairs) == reach.argmax(axis=1).tolist()


@pytest.mark.parametrize("documents", [0, 1, 2])
def test_few_documents_have_no_candidates(prose, documents):
    made = shingle([prose(i) for i in range(documents)], 5)
    assert similar.alike(signatures(made, 8), 4, 0.5).shape == (0, 2)
    assert similar.containing(made, 0.5).shape == (0, 2)
    assert similar.survivors(documents, np.empty((0, 2), np.int64)).tolist() == [*range(documents)]
