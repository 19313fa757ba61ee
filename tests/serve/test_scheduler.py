"""Slots and lines keep their invariants, and callers their shares, on a virtual clock."""

import heapq
import math
import random

import pytest

from ssljax.serve.scheduler import (
    QueueFullError,
    Rules,
    ShareFullError,
    Ticket,
    TooLargeError,
    admit,
    empty_plan,
    enqueue,
    expire,
    remove,
    running,
    seconds_for,
)

ROOMY = Rules(10**6)


def put_in(plan, *items, caller="", tokens=1, deadline=math.inf, rules=ROOMY):
    return enqueue(plan, tuple(Ticket(i, caller, tokens, deadline) for i in items), rules)


def admit_all(plan, rules=ROOMY, now=0.0):
    """Return the plan with every slot taken that can be, and the items that took them."""
    items = []
    while True:
        plan, admitted = admit(plan, rules, now=now)
        if admitted is None:
            return plan, items
        items.append(admitted[1])


def test_first_come_first_served_into_the_first_free_slot():
    plan = put_in(empty_plan(2), "a", "b", "c")
    plan, first = admit(plan, ROOMY)
    plan, second = admit(plan, ROOMY)
    plan, third = admit(plan, ROOMY)
    assert (first, second, third) == ((0, "a"), (1, "b"), None)
    plan, next_ = admit(remove(plan, "a"), ROOMY)
    assert next_ == (0, "c") and running(plan) == ((0, "c"), (1, "b"))


def test_free_slots_count_as_places_and_a_refusal_changes_nothing():
    plan = put_in(empty_plan(2), "a", "b", rules=Rules(0))
    with pytest.raises(QueueFullError, match="holds 0 requests"):
        put_in(plan, "c", rules=Rules(0))
    with pytest.raises(QueueFullError):
        put_in(empty_plan(2), *"abcd", rules=Rules(1))
    assert plan.waiting == ("a", "b")


def test_what_would_not_fit_were_nobody_there_is_told_apart():
    rules = Rules(4, tokens=100, share=0.5)
    for items, tokens in (("abcd", 1), ("ab", 51)):
        with pytest.raises(TooLargeError, match="2 requests and 50 tokens"):
            put_in(empty_plan(1), *items, tokens=tokens, rules=rules)
    plan = put_in(empty_plan(1), *"abc", tokens=25, rules=rules)
    with pytest.raises(ShareFullError):
        put_in(plan, *"def", tokens=25, rules=rules)


def test_tokens_that_wait_are_limited_too():
    rules = Rules(10, tokens=100)
    plan, _ = admit_all(put_in(empty_plan(1), "a", tokens=5000, rules=rules))
    plan = put_in(plan, "b", tokens=60, rules=rules)
    with pytest.raises(QueueFullError, match="holds 100 tokens"):
        put_in(plan, "c", tokens=41, rules=rules)
    assert put_in(plan, "c", tokens=40, rules=rules).waiting == ("b", "c")


def test_a_caller_is_refused_at_his_share_and_all_at_the_whole():
    rules = Rules(8, tokens=800, share=0.5)
    plan, _ = admit_all(put_in(empty_plan(1), "busy", caller="z"))
    plan = put_in(plan, *"abcd", caller="x", rules=rules)
    with pytest.raises(ShareFullError, match='"x" has no place left .* holds 4 requests'):
        put_in(plan, "e", caller="x", rules=rules)
    plan = put_in(plan, *"fgh", caller="y", rules=rules)
    with pytest.raises(ShareFullError, match="holds 400 tokens"):
        put_in(plan, "i", caller="y", tokens=398, rules=rules)
    plan = put_in(plan, "i", caller="y", rules=rules)
    with pytest.raises(QueueFullError, match="The server has no place") as caught:
        put_in(plan, "j", caller="w", rules=rules)
    assert not isinstance(caught.value, ShareFullError)


def test_retry_is_what_the_excess_takes_at_the_measured_pace():
    plan = empty_plan(2)
    for number in range(200):                       # each slot does 50 tokens a second
        plan, _ = admit_all(put_in(plan, 2 * number, 2 * number + 1, tokens=100), now=2.0 * number)
        for item in (2 * number, 2 * number + 1):
            plan = remove(plan, item, now=2.0 * number + 2)
    assert seconds_for(plan, 1000) == 10
    rules = Rules(2)
    plan, _ = admit_all(put_in(plan, *"ab", tokens=500), now=5000.0)     # idle for an hour
    plan = put_in(plan, *"cd", tokens=700, rules=rules)
    with pytest.raises(QueueFullError) as caught:
        put_in(plan, "e", tokens=700, rules=rules)
    assert caught.value.retry == 7 and seconds_for(empty_plan(1), 10**9) == 1


def test_who_waits_past_his_deadline_is_taken_out_and_who_runs_is_not():
    plan, _ = admit_all(put_in(empty_plan(1), "a", deadline=1.0))
    plan = put_in(put_in(plan, "b", deadline=2.0), "c", caller="x", deadline=4.0)
    assert expire(plan, 2.0) == (plan, ())
    plan, late = expire(plan, 3.0)
    assert late == ("b",) and plan.waiting == ("c",) and running(plan) == ((0, "a"),)


def test_removing_what_is_not_there_changes_nothing():
    plan = put_in(empty_plan(1), "a")
    assert remove(plan, "b") == plan


def test_nothing_is_lost_or_served_twice_under_random_traffic():
    chance, plan, known, served = random.Random(0), empty_plan(4), set(), []
    rules = Rules(5, tokens=60, share=0.8, reserve=1)
    last = {}
    for number in range(3000):
        action = chance.choice(("arrive", "admit", "admit", "leave", "expire"))
        if action == "arrive":
            caller = chance.choice("xyz")
            try:
                plan = put_in(plan, number, caller=caller, tokens=chance.randint(1, 30),
                              deadline=number + 40, rules=rules)
                known.add(number)
                last[number] = caller
            except QueueFullError as err:
                assert err.retry >= 1 and plan.waiting
        elif action == "admit":
            plan, admitted = admit(plan, rules, now=number)
            served += [admitted[1]] if admitted else []
        elif action == "expire":
            plan, late = expire(plan, number)
            known -= {*late}
            assert all(item + 40 < number for item in late)
        elif known:
            gone = chance.choice(sorted(known))
            plan, known = remove(plan, gone, now=number), known - {gone}
        held = [*plan.waiting, *(item for _, item in running(plan))]
        assert sorted(held) == sorted(known) and len(plan.slots) == 4
        assert all(0 <= line.saved <= 30 and line.tickets for line in plan.lines)
        assert max([last[item] for _, item in running(plan)].count(c) for c in "xyz") <= 3
    assert len(served) == len(set(served)) > 300
    for caller in "xyz":
        mine = [item for item in served if last[item] == caller]
        assert mine == sorted(mine)                 # in the order they came


def simulate(arrivals, slots, rules, seconds):
    """Serve (time, caller, tokens) on slots of one token a second: (caller, wait, tokens) each."""
    plan, clock, order, waits = empty_plan(slots), 0.0, 0, []
    events = [(time, number, "come", (caller, tokens))
              for number, (time, caller, tokens) in enumerate(arrivals)]
    heapq.heapify(events)
    order = len(events)
    while events and clock < seconds:
        clock, number, what, who = heapq.heappop(events)
        if what == "come":
            try:
                plan = enqueue(plan, (Ticket((number, clock, who), who[0], who[1]),), rules)
            except QueueFullError:
                continue
        else:
            plan = remove(plan, who, now=clock)
        while True:
            plan, admitted = admit(plan, rules, now=clock)
            if admitted is None:
                break
            _, came, (caller, tokens) = admitted[1]
            waits.append((caller, clock - came, tokens))
            order += 1
            heapq.heappush(events, (clock + tokens, order, "leave", admitted[1]))
    return waits


@pytest.mark.parametrize("flood_tokens", [5, 40, 200])
def test_callers_who_wait_get_equal_tokens_however_many_requests_one_sends(flood_tokens):
    chance = random.Random(flood_tokens)
    flood = [(0.2 * n, "flood", flood_tokens) for n in range(5000)]
    steady = [(1.0 + n, "steady", chance.randint(20, 80)) for n in range(1000)]
    waits = simulate(flood + steady, 8, Rules(200, share=0.5), 900)
    done = {caller: sum(tokens for who, _, tokens in waits if who == caller)
            for caller in ("flood", "steady")}
    head_start = 8 * flood_tokens                   # all slots, before the other came
    assert abs(done["flood"] - done["steady"]) <= head_start + flood_tokens + 80
    assert sum(done.values()) >= 8 * 900            # and no slot was idle


def flooded(quiet, rules):
    """Return how long each of `quiet` took, over what it would have taken alone, in a flood."""
    chance = random.Random(1)
    flood = [(1.0 * n, "flood", chance.randint(10, 120)) for n in range(5000)]
    waits = [(wait, tokens) for who, wait, tokens in simulate(flood + quiet, 16, rules, 5000)
             if who == "quiet"]
    assert len(waits) == len(quiet)
    return waits


def test_a_flood_does_not_delay_another():
    chance, rules = random.Random(2), Rules(400, share=0.5, reserve=1)
    one_by_one = [(130.0 * n, "quiet", chance.randint(10, 120)) for n in range(1, 38)]
    assert all(wait == 0 for wait, _ in flooded(one_by_one, rules))
    at_once = [(25.0 * n, "quiet", chance.randint(10, 120)) for n in range(1, 190)]
    waits = flooded(at_once, rules)                 # two or three of them run at any time
    assert sum(wait + tokens for wait, tokens in waits) <= 1.1 * sum(t for _, t in waits)
    # Without a slot that is kept for others, it is the rest of some flooding request to wait for.
    bare = flooded(one_by_one, rules._replace(reserve=0))
    assert sum(wait + tokens for wait, tokens in bare) <= 1.3 * sum(t for _, t in bare)


def test_the_reserve_is_of_slots_and_of_tokens():
    rules = Rules(99, reserve=1, room=400)
    plan = put_in(empty_plan(4), *"abcd", caller="x", tokens=30)
    plan, items = admit_all(plan, rules)
    assert items == ["a", "b", "c"]
    plan, items = admit_all(put_in(plan, "e", caller="y"), rules)
    assert items == ["e"]
    plan, items = admit_all(put_in(empty_plan(4), *"abcd", caller="x", tokens=120), rules)
    assert items == ["a", "b"]                      # 360 would leave less than a quarter of 400
    plan, items = admit_all(put_in(empty_plan(4), "a", caller="x", tokens=399), rules)
    assert items == ["a"]                           # or it could never start


def test_what_was_saved_does_not_outlive_the_line():
    plan = put_in(put_in(empty_plan(1), "a", caller="x", tokens=50), "b", caller="y", tokens=10)
    plan, items = admit_all(plan)
    assert items == ["b"] and [line.saved for line in plan.lines] == [10]
    assert remove(plan, "a").lines == ()
