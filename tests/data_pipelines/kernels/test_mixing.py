"""Mixtures have the wanted shares as far as limits allow; clusters do not depend on order."""

import numpy as np
import pytest

from data_pipelines.kernels.k_means import assign, fit_centres
from data_pipelines.kernels.mixing import copies, temper, whole_copies


def test_temperature_goes_from_proportional_to_even():
    sizes = {"en": 900.0, "de": 90.0, "is": 10.0}
    assert temper(sizes, 1) == pytest.approx({"en": .9, "de": .09, "is": .01})
    assert temper(sizes, 1e9) == pytest.approx(dict.fromkeys(sizes, 1 / 3))
    roots = {n: s ** .5 / (30 + 90 ** .5 + 10 ** .5) for n, s in sizes.items()}
    assert temper(sizes, 2) == pytest.approx(roots)


def test_shares_are_met_where_limits_allow_it():
    found = copies({"a": 100, "b": 300}, {"a": 3, "b": 1}, total=400)
    assert found == pytest.approx({"a": 3.0, "b": 1 / 3})


def test_what_a_limited_group_cannot_give_the_others_give():
    sizes = {"a": 10, "b": 300, "c": 100}
    found = copies(sizes, {"a": .5, "b": .25, "c": .25}, total=400, most=4)
    assert found["a"] == 4 and sum(found[n] * sizes[n] for n in sizes) == pytest.approx(400)
    assert found["b"] * 300 == pytest.approx(found["c"] * 100)
    floor = copies(sizes, {"a": .1, "b": .1, "c": .8}, total=400, least=.5, most=4)
    assert floor["b"] == .5 and sum(floor[n] * sizes[n] for n in sizes) == pytest.approx(400)


def test_limits_hold_where_the_total_cannot_be_had():
    assert copies({"a": 10, "b": 10}, {"a": 1, "b": 1}, total=1000, most=2) == {"a": 2, "b": 2}
    assert copies({"a": 10, "x": 5}, {"a": 1}, total=10) == {"a": 1, "x": 0}


def test_whole_copies_have_the_mean_and_depend_on_the_id_alone():
    ids = [f"{i:016x}" for i in range(20_000)]
    taken = whole_copies(ids, np.full(len(ids), 2.3))
    assert set(taken) == {2, 3} and taken.mean() == pytest.approx(2.3, abs=0.01)
    np.testing.assert_array_equal(whole_copies(ids[::-1], np.full(len(ids), 2.3)), taken[::-1])


def test_clusters_are_those_planted_for_any_order():
    draw = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), [50, 40, 30, 20])
    rows = np.eye(16)[truth] + draw.normal(size=(140, 16)) * 0.1
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    centres = fit_centres(rows, 4)
    np.testing.assert_array_equal(assign(rows, centres), truth)       # the largest comes first
    shuffled = draw.permutation(140)
    np.testing.assert_array_equal(fit_centres(rows[shuffled], 4), centres)
    np.testing.assert_array_equal(assign(rows[5:6], centres), truth[5:6])
    assert len(fit_centres(np.eye(3)[[0, 0, 1]], 5)) == 2
