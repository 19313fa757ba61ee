"""The interval of a ratio of sums."""

import math

import numpy as np
import pytest

from ssljax.evals import bootstrap


def test_interval_of_a_mean_agrees_with_the_normal_one():
    rng = np.random.default_rng(1)
    x = rng.normal(3, 2, 2000)
    value, (low, high) = bootstrap.ratio(x, np.ones(2000))
    half = 1.96 * x.std() / math.sqrt(2000)
    assert value == pytest.approx(x.mean())
    assert low == pytest.approx(value - half, abs=0.15 * half)
    assert high == pytest.approx(value + half, abs=0.15 * half)


def test_is_a_ratio_of_sums_not_a_mean_of_ratios():
    assert bootstrap.ratio(np.array([1.0, 9.0]), np.array([1.0, 3.0]))[0] == 2.5


def test_is_the_same_on_every_call():
    x, w = np.arange(1.0, 30), np.arange(2.0, 31)
    assert bootstrap.ratio(x, w) == bootstrap.ratio(x, w)


def test_one_record_has_no_interval_and_none_has_no_value():
    value, interval = bootstrap.ratio(np.ones(1), np.ones(1))
    assert value == 1 and all(map(math.isnan, interval))
    assert math.isnan(bootstrap.ratio(np.ones(0), np.ones(0))[0])


def test_records_without_weight_are_survived():
    value, (low, high) = bootstrap.ratio(np.array([1.0, 0.0]), np.array([1.0, 0.0]))
    assert value == low == high == 1
