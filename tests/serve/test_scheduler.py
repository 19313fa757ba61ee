"""Slots and queue keep their invariants under any order of arrivals, admissions and departures."""

import random

import pytest

from ssljax.serve.scheduler import (
    QueueFullError,
    admit,
    empty_plan,
    enqueue,
    remove,
    running,
)


def test_first_come_first_served_into_the_first_free_slot():
    plan = enqueue(empty_plan(2), ("a", "b", "c"), limit=1)
    plan, first = admit(plan)
    plan, second = admit(plan)
    plan, third = admit(plan)
    assert (first, second, third) == ((0, "a"), (1, "b"), None)
    plan, next_ = admit(remove(plan, "a"))
    assert next_ == (0, "c") and running(plan) == ((0, "c"), (1, "b"))


def test_free_slots_count_as_places_and_a_refusal_changes_nothing():
    plan = enqueue(empty_plan(2), ("a", "b"), limit=0)
    with pytest.raises(QueueFullError, match="the queue holds 0"):
        enqueue(plan, ("c",), limit=0)
    with pytest.raises(QueueFullError):
        enqueue(empty_plan(2), ("a", "b", "c", "d"), limit=1)
    assert plan.waiting == ("a", "b")


def test_removing_what_is_not_there_changes_nothing():
    plan = enqueue(empty_plan(1), ("a",), limit=0)
    assert remove(plan, "b") == plan


def test_nothing_is_lost_or_served_twice_under_random_traffic():
    draw, plan, known, served = random.Random(0), empty_plan(4), set(), []
    for number in range(2000):
        action = draw.choice(("arrive", "admit", "admit", "leave"))
        if action == "arrive":
            try:
                plan = enqueue(plan, (number,), limit=5)
                known.add(number)
            except QueueFullError:
                assert len(plan.waiting) >= 5
        elif action == "admit":
            plan, admitted = admit(plan)
            served += [admitted[1]] if admitted else []
        elif known:
            gone = draw.choice(sorted(known))
            plan, known = remove(plan, gone), known - {gone}
        held = [*plan.waiting, *(item for _, item in running(plan))]
        assert sorted(held) == sorted(known) and len(plan.slots) == 4
    assert served == sorted(set(served)) and len(served) > 100
