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
    found = {tuple(sorted(p)) for piece in perceptual.pieces(hashes, within)
             for pairs in perceptual.bucket_pairs(hashes, piece, within) for p in pairs.tolist()}
    expected = {(a, b) for a, b in itertools.combinations(range(len(hashes)), 2)
                if (int(hashes[a]) ^ int(hashes[b])).bit_count() <= within}
    assert found == expected and (len(expected) > 10 or within < 2)
