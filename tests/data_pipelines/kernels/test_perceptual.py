"""Hashes against their definitions, neighbours against all pairs."""

import itertools

import numpy as np
import pytest

from data_pipelines.kernels import perceptual


def test_difference_hash_is_the_sign_of_each_step():
    thumbnail = np.tile(np.array([0, 1, 0, 1, 2, 2, 3, 2, 9], np.uint8), (8, 1))
    assert f"{perceptual.difference_hash(thumbnail):064b}" == "10110101" * 8


def test_frequency_hash_is_the_transform_of_scipy():
    scipy_fft = pytest.importorskip("scipy.fft")
    thumbnail = np.random.default_rng(0).integers(0, 256, (32, 32)).astype(np.uint8)
    low = scipy_fft.dctn(thumbnail.astype(float), type=2)[:8, :8]
    expected = (low > np.median(low.ravel()[1:])).ravel()
    made = [c == "1" for c in f"{perceptual.frequency_hash(thumbnail):064b}"]
    assert made == expected.tolist()


@pytest.mark.parametrize("within", [0, 1, 4, 7, 15])
def test_all_pairs_within_the_distance_are_found(within):
    draw = np.random.default_rng(within)
    base = draw.integers(0, 2**64, 30, np.uint64)
    flips = [np.bitwise_or.reduce(np.uint64(1) << draw.permutation(64)[:k].astype(np.uint64))
             for k in draw.integers(1, 12, 120)]
    hashes = np.unique(np.concatenate([base, np.repeat(base, 4) ^ np.array(flips, np.uint64)]))
    found = {tuple(p) for p in perceptual.close_pairs(hashes, within).tolist()}
    expected = {(a, b) for a, b in itertools.combinations(range(len(hashes)), 2)
                if (int(hashes[a]) ^ int(hashes[b])).bit_count() <= within}
    assert found == expected and (len(expected) > 10 or within < 2)


def test_equal_hashes_are_settled_together():
    # The second and third are one hash, near the first; the last two are alike and far from it.
    hashes = np.array([0, 1, 1, 2**60 - 1, 0, 2**60 - 2], np.uint64)
    assert perceptual.representatives(hashes, 4).tolist() == [0, 0, 0, 3, 0, 3]
    assert perceptual.representatives(hashes, 0).tolist() == [0, 1, 1, 3, 0, 5]
    assert perceptual.representatives(np.empty(0, np.uint64), 4).shape == (0,)


def test_an_image_is_within_the_distance_of_its_survivor():
    draw = np.random.default_rng(9)
    hashes = np.uint64(1) << draw.integers(0, 20, 200).astype(np.uint64)
    hashes |= np.uint64(1) << draw.integers(20, 64, 200).astype(np.uint64)
    survivor = perceptual.representatives(hashes, 3)
    assert (perceptual.distance(hashes, hashes[survivor]) <= 3).all()
    assert (survivor[survivor] == survivor).all() and 1 < len(set(survivor.tolist())) < 200
