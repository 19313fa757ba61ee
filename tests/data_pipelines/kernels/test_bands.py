"""Candidates against brute force, whole and by partitions."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.kernels import bands, containment
from data_pipelines.kernels.minhash import shingle, signatures


def pairs_of(array):
    return {tuple(p) for p in array.tolist()}


def alike(made, rows, at_least):
    keys = bands.band_keys(made, rows)
    found = bands.unique_pairs(np.concatenate([
        bands.band_pairs(key, np.roll(keys, -1, axis=0)[n], np.arange(len(made)))
        for n, key in enumerate(keys)]))
    return found[bands.agreement(made, found) >= at_least]


def inside(texts, least=0.5):
    sets = shingle(pa.array(texts, pa.string()), 5)
    sampled = sets.hashes % np.uint64(containment.SAMPLED) == 0
    owners = np.repeat(np.arange(len(texts)), sets.counts())[sampled]
    pairs, shared = containment.sharing(sets.hashes[sampled], owners)
    smaller = np.bincount(owners, minlength=len(texts))[pairs].min(axis=1)
    return pairs_of(pairs[shared >= np.maximum(1, smaller * least / 2)])


def test_band_pairs_are_all_pairs_of_small_buckets():
    keys = np.random.default_rng(0).integers(0, 40, 200).astype(np.uint64)
    found = bands.band_pairs(keys, np.zeros_like(keys), np.arange(200))
    expected = {p for p in itertools.combinations(range(200), 2) if keys[p[0]] == keys[p[1]]}
    assert pairs_of(found) == expected


def test_partitions_by_prefix_give_the_pairs_of_the_whole():
    draw = np.random.default_rng(1)
    keys, following = draw.integers(0, 2**64, (2, 60), np.uint64)[:, draw.integers(0, 60, 3000)]
    documents = draw.permutation(3000)
    whole = bands.band_pairs(keys, following, documents)
    prefix = keys >> np.uint64(62)
    parts = [bands.band_pairs(keys[prefix == p], following[prefix == p], documents[prefix == p])
             for p in range(4)]
    assert pairs_of(whole) == set().union(*map(pairs_of, parts)) and len(whole) > 3000
    order = draw.permutation(3000)
    assert (bands.band_pairs(keys[order], following[order], documents[order]) == whole).all()


def test_equal_bands_have_equal_keys_and_others_none():
    made = np.random.default_rng(2).integers(0, 3, (100, 8)).astype(np.uint32)
    keys = bands.band_keys(made, 4)
    for band, a, b in itertools.product(range(2), range(100), range(100)):
        same = (made[a, 4 * band:4 * band + 4] == made[b, 4 * band:4 * band + 4]).all()
        assert (keys[band, a] == keys[band, b]) == same


def test_every_pair_alike_is_a_candidate(prose, edited):
    texts = [prose(i) for i in range(20)] + [edited(prose(i), 40) for i in range(20)]
    found = alike(signatures(shingle(pa.array(texts), 5), 128), 4, 0.5)
    assert pairs_of(found) == {(i, i + 20) for i in range(20)}


def test_a_large_bucket_is_bounded_and_keeps_its_leader():
    found = pairs_of(alike(np.zeros((500, 8), np.uint32), 4, 0.0))
    assert len(found) <= 500 * (bands.WINDOW + 1)
    assert {(0, i) for i in range(1, 500)} <= found


def test_a_document_inside_a_longer_one_is_a_candidate(prose):
    part = prose(1, 200)
    assert inside([prose(2, 1500) + part + prose(3, 1500), part, prose(4, 300)]) == {(0, 1)}


def test_what_many_documents_have_is_boilerplate_and_links_none(prose):
    header = prose(0, 200)
    texts = [header + prose(i, 30) for i in range(1, bands.WINDOW + 3)]
    assert len(inside(texts)) == 0
    assert len(inside(texts[:5])) == 10


@pytest.mark.parametrize("documents", [0, 1, 2])
def test_few_documents_have_no_candidates(prose, documents):
    made = shingle(pa.array([prose(i) for i in range(documents)], pa.string()), 5)
    assert alike(signatures(made, 8), 4, 0.5).shape == (0, 2)
    assert inside([prose(i) for i in range(documents)]) == set()
