"""Limits: what hangs, grows, raises or dies is one failure, and its neighbours have results."""

import os
import time

import pytest

from data_pipelines.limits import Failure, Limits, limited_map

LIMITS = Limits(seconds=0.5, memory=256 << 20)


def act(value):
    """Do what a page might make an extractor do."""
    if value == "hang":
        while True:
            pass
    if value == "grow":
        return len(bytearray(1 << 30))
    if value == "die":
        os._exit(3)
    if value == "raise":
        raise ValueError("odd page")
    return value * 2


def test_each_failure_has_its_reason_and_the_order_stays():
    values = ["a", "hang", "b", "grow", "die", "c", "raise", "d"]
    found = list(limited_map(act, values, limits=LIMITS))
    assert [r.reason if isinstance(r, Failure) else r for r in found] == [
        "aa", "timeout", "bb", "out_of_memory", "crashed", "cc", "failed", "dd"]
    assert found[6].detail == "ValueError: odd page"


def test_the_number_of_children_changes_nothing_and_little_is_read_ahead():
    taken = []

    def source():
        for i in range(40):
            taken.append(i)
            yield i

    results = limited_map(act, source(), limits=LIMITS, children=2)
    assert next(results) == 0
    assert len(taken) <= 9
    assert list(results) == [2 * i for i in range(1, 40)]


def test_children_end_with_the_iteration():
    results = limited_map(pid, [0, 1], limits=LIMITS)
    child = next(results)
    results.close()
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def pid(_):
    """Return the child's process."""
    return os.getpid()


def test_kept_children_serve_the_next_call_and_those_that_died_are_replaced():
    kept = []
    try:
        assert list(limited_map(act, ["b"], limits=LIMITS, kept=kept)) == ["bb"]
        first = [c.process.pid for c in kept]
        assert list(limited_map(act, ["a"], limits=LIMITS, kept=kept)) == ["aa"]
        assert [c.process.pid for c in kept] == first and len(first) == 1
        list(limited_map(act, ["die"], limits=LIMITS, kept=kept))
        assert [c.process.pid for c in kept] != first
    finally:
        for child in kept:
            child.stop()
