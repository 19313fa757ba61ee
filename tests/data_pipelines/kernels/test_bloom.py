"""Nothing added is missed, and what was not added is taken for seen as rarely as stated."""

import numpy as np
import pytest

from data_pipelines.kernels import bloom
from ssljax.core.errors import DataError


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
def test_at_capacity_the_stated_rate_holds(rate):
    keys = np.random.default_rng(0).integers(0, 2**64, 70_000, np.uint64)
    full = bloom.added(bloom.empty(20_000, rate), keys[:20_000])
    assert bloom.contains(full, keys[:20_000]).all()
    wrong = bloom.contains(full, keys[20_000:]).mean()
    assert 0.4 * rate < wrong < 1.4 * rate + 4 * (rate / 50_000) ** 0.5
    assert full.count == pytest.approx(20_000, abs=20_000 * rate)


def test_keys_close_together_are_as_good():
    full = bloom.added(bloom.empty(10_000, 0.01), np.arange(10_000, dtype=np.uint64))
    assert bloom.contains(full, np.arange(10_000, 60_000, dtype=np.uint64)).mean() < 0.015


def test_adding_twice_changes_nothing_and_the_first_stays_as_it_was():
    keys = np.arange(100, dtype=np.uint64)
    none = bloom.empty(1000, 0.001)
    once = bloom.added(none, keys)
    twice = bloom.added(once, keys)
    assert twice.count == once.count == 100 and (twice.bits == once.bits).all()
    assert not none.bits.any()


def test_a_batch_knows_its_own_repeats():
    seen = bloom.added(bloom.empty(100, 0.001), np.array([7], np.uint64))
    batch = np.array([1, 7, 1, 2, 1], np.uint64)
    assert bloom.repeated(seen, batch).tolist() == [False, True, True, False, True]


def test_bytes_and_back_and_damage_is_named():
    some = bloom.added(bloom.empty(500, 0.01), np.arange(300, dtype=np.uint64))
    data = bloom.to_bytes(some)
    again = bloom.from_bytes(data)
    assert again._replace(bits=None) == some._replace(bits=None)
    assert (again.bits == some.bits).all()
    more = bloom.added(again, np.arange(300, 400, dtype=np.uint64))
    assert more.count == pytest.approx(400, abs=4)
    for bad in (data[:-1], data[:-1] + b"x", b"", b"other"):
        with pytest.raises(DataError):
            bloom.from_bytes(bad)


def test_size_is_the_least_for_the_rate():
    assert len(bloom.empty(1_000_000, 0.001).bits) == pytest.approx(1_797_198, abs=2)
