"""The order of records is a bijection per epoch, the same for any way of asking."""

import numpy as np
import pytest

from ssljax.data.order import SMALL, feistel, permute, records_of_rows


@pytest.mark.parametrize("size", [1, 2, 77, 1000, SMALL, SMALL + 1, 100_003])
def test_permutation_visits_every_record_once(size):
    assert np.array_equal(np.sort(permute(np.arange(size), size, 5)), np.arange(size))


def test_feistel_looks_uniform():
    """Record of position 0 over many keys: chi-square of 64 bins within five sigma of its mean."""
    size, draws = 64, 6400
    first = [int(feistel(np.array([0]), size, key)[0]) for key in range(draws)]
    counts = np.bincount(first, minlength=size)
    chi2 = np.sum((counts - draws / size) ** 2 / (draws / size))
    assert abs(chi2 - (size - 1)) < 5 * np.sqrt(2 * (size - 1))


def test_rows_do_not_depend_on_how_they_are_asked_for():
    whole = np.stack(records_of_rows(np.arange(50), 7, 1))
    parts = [np.stack(records_of_rows(np.arange(a, a + 5), 7, 1)) for a in range(0, 50, 5)]
    assert np.array_equal(whole, np.concatenate(parts, axis=1))


def test_epochs_have_orders_of_their_own_and_seeds_do_not_collide():
    def orders(seed):
        _, records = records_of_rows(np.arange(300), 100, seed)
        return [tuple(records[i:i + 100]) for i in (0, 100, 200)]

    assert len({*orders(5), *orders(6)}) == 6
