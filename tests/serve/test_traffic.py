"""The split of a model's traffic: shares as asked, callers that stay, versions that come and go."""

from collections import Counter

import pytest

from ssljax.core.errors import RequestError
from ssljax.serve import traffic as shares

CALLERS = [f"caller {i}" for i in range(4000)]


def two(weight=None):
    return shares.add(shares.add(None, "1", None), "2", weight)


def test_first_version_gets_all_and_a_later_one_what_it_is_given():
    assert two().weights == {"1": 1, "2": 0}
    assert two(0.25).weights == {"1": 0.75, "2": 0.25}
    assert {shares.choose(two(), who) for who in CALLERS} == {"1"}


@pytest.mark.parametrize("part", [0.01, 0.1, 0.5, 0.9])
def test_shares_are_met(part):
    counts = Counter(shares.choose(two(part), who) for who in CALLERS)
    assert abs(counts["2"] / len(CALLERS) - part) < 0.03


def test_a_canary_that_grows_keeps_everyone_it_had():
    before = {who for who in CALLERS if shares.choose(two(0.1), who) == "2"}
    for part in (0.2, 0.5, 1.0):
        now = {who for who in CALLERS if shares.choose(two(part), who) == "2"}
        assert before <= now
        before = now
    assert before == set(CALLERS)


def test_rollback_returns_to_the_split_before():
    moved = shares.split(two(0.1), {"2": 1})
    assert moved.weights == {"1": 0, "2": 1}
    back = shares.rollback(moved)
    assert back.weights == {"1": 0.9, "2": 0.1}
    assert shares.rollback(back).weights == moved.weights


def test_a_version_that_goes_leaves_its_share_to_the_others():
    three = shares.split(shares.add(two(0.5), "3", None), {"1": 2, "2": 1, "3": 1})
    assert shares.remove(three, "1").weights == {"2": 0.5, "3": 0.5}
    assert shares.remove(shares.split(three, {"1": 1}), "1").weights == {"2": 0, "3": 1}
    shadowed = shares.mirror(three, "3", 0.5)
    assert shares.remove(shadowed, "3").shadow is None
    assert shares.remove(shares.add(None, "1", None), "1") is None


@pytest.mark.parametrize("weights", [{}, {"1": 0}, {"1": -1, "2": 2}, {"1": float("inf")},
                                     {"1": float("nan")}])
def test_weights_that_share_nothing_are_refused(weights):
    with pytest.raises(RequestError, match="weights must be"):
        shares.split(two(), weights)


def test_unknown_versions_are_refused_by_name():
    with pytest.raises(RequestError, match='version "9" is not loaded; 1, 2 are') as caught:
        shares.split(two(), {"9": 1})
    assert caught.value.status == 404
