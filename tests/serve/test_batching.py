"""Which rows run when, on a clock that stands still; and the thread around it."""

import random
import threading
import time

import pytest

from ssljax.serve.batching import Batching, Item, LateError, Tally, form, take_turns
from ssljax.serve.engine import StoppedError
from ssljax.serve.scheduler import QueueFullError, ShareFullError


def items(*rows):
    """Return items of (bucket, due) or (bucket, due, caller, deadline)."""
    return tuple(Item(n, bucket, *rest[1:2] or ("",), rest[0], *rest[2:] or (99.0,))
                 for n, (bucket, *rest) in enumerate(rows))


def four(bucket):
    return 4


def numbers(rows):
    return [item.number for item in rows]


def test_nothing_runs_before_it_is_full_or_due():
    waiting = items(("a", 5.0), ("b", 4.0), ("a", 6.0))
    early = form(waiting, Tally(), 3.0, four)
    assert early.batch == () and early.waiting == waiting and early.wake == 4.0
    assert numbers(form(waiting, Tally(), 4.0, four).batch) == [1]
    single = form(waiting, Tally(), 5.5, lambda bucket: 1 if bucket == "b" else 4)
    assert numbers(single.batch) == [1]


def test_a_full_batch_does_not_wait_and_takes_only_its_rows():
    waiting = items(*[("a", 9.0)] * 5, ("b", 9.0))
    formed = form(waiting, Tally(), 0.0, four)
    assert numbers(formed.batch) == [0, 1, 2, 3] and numbers(formed.waiting) == [4, 5]


def test_of_several_the_one_due_first_runs():
    waiting = items(("a", 2.0), ("b", 1.0), ("a", 1.5))
    formed = form(waiting, Tally(), 3.0, four)
    assert numbers(formed.batch) == [1] and numbers(formed.waiting) == [0, 2]


def test_late_rows_leave_and_are_named():
    waiting = items(("a", 1.0, "", 2.0), ("a", 1.0))
    formed = form(waiting, Tally(), 2.5, four)
    assert numbers(formed.late) == [0] and numbers(formed.batch) == [1]


def test_callers_take_turns():
    waiting = items(*[("a", 1.0, "flood")] * 6, ("a", 1.0, "quiet"), ("a", 1.0, "quiet"))
    assert numbers(take_turns(waiting, Tally(), 4)) == [0, 6, 1, 7, 2, 3, 4, 5]
    assert 6 in numbers(form(waiting, Tally(), 2.0, four).batch)


def served(batches, waiting, arrive=lambda at, ran: (), room=1):
    """Return the callers of so many batches, one second each; `arrive` says what comes before."""
    tally, ran = Tally(), []
    for at in range(batches):
        waiting += tuple(arrive(at, ran))
        formed = form(waiting, tally, float(at), lambda bucket: room)
        waiting, tally = formed.waiting, formed.tally
        ran.append("".join(item.caller for item in formed.batch))
    return ran


def flood(caller, bucket, count, first=0):
    return tuple(Item(first + n, bucket, caller, 0.0, 1e9) for n in range(count))


@pytest.mark.parametrize("bucket", ["short", "long"])
def test_who_floods_one_bucket_does_not_keep_others_out_of_any(bucket):
    def one_more(at, ran):
        return [Item(1000 + at, bucket, "b", float(at), 60.0)] if at in (5, 6) else []

    assert served(8, flood("a", "long", 200), one_more) == list("aaaaabab")


def test_a_caller_who_asks_again_and_again_gets_his_half_and_no_more():
    def again(at, ran):
        return [Item(1000 + at, "short", "b", float(at), 1e9)] if at == 0 or ran[-1] == "b" else []

    ran = served(40, flood("a", "long", 200), again)
    assert ran.count("a") == 20 and "aaa" not in "".join(ran) and "bbb" not in "".join(ran)


def test_nobody_saves_turns_while_away_or_pays_for_what_was_idle():
    def busy_alone(at, ran):
        if at < 50:
            return [Item(at, "short", "b", float(at), 1e9)]
        return flood("a", "long", 50, 50) + flood("b", "short", 50, 100) if at == 50 else []

    ran = served(70, (), busy_alone)
    assert ran[:50] == ["b"] * 50 and 9 <= ran[50:].count("b") <= 11


def test_places_of_large_batches_are_parts_of_a_turn():
    ran = served(12, flood("a", "long", 48) + flood("b", "short", 48, 48), room=8)
    assert ran == ["a" * 8, "b" * 8] * 6


def test_whatever_arrives_every_row_runs_once_within_a_batch_of_its_bucket():
    draw = random.Random(0)
    waiting, left, ran, tally = (), 300, [], Tally()
    clock = 0.0
    for number in range(3000):
        if left and draw.random() < 0.5:
            waiting += (Item(number, draw.choice("abc"), draw.choice("xy"), clock + 1, 1e9),)
            left -= 1
        formed = form(waiting, tally, clock, four)
        assert len(formed.batch) <= 4 and len({item.bucket for item in formed.batch}) <= 1
        assert formed.batch or all(item.due > clock for item in waiting)
        waiting, tally, ran = formed.waiting, formed.tally, ran + numbers(formed.batch)
        clock += draw.random()
    assert not waiting and len(ran) == len(set(ran)) == 300


@pytest.fixture
def batching():
    """Return make(run, ...); all are closed at the end."""
    made = []

    def make(run, *, rows=4, wait=0.0, limit=8, report=lambda *figures: None, share=1.0):
        made.append(Batching(run, rows=lambda bucket: rows, wait=wait, limit=limit, share=share,
                             report=report))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Answers(dict):
    """Receive answers by row; `wait` for a number of them."""

    def __init__(self):
        self.news = threading.Condition()

    def __call__(self, at, answer):
        with self.news:
            self[at] = answer
            self.news.notify()

    def wait(self, count):
        with self.news:
            assert self.news.wait_for(lambda: len(self) == count, 10)
        return [self[at] for at in sorted(self)]


def test_rows_of_one_bucket_share_a_batch_and_get_their_own_answers(batching):
    seen, figures, got = [], [], Answers()

    def run(bucket, contents):
        seen.append((bucket, list(contents)))
        return [10 * x for x in contents]

    one = batching(run, wait=0.05, report=lambda *of: figures.append(of[:2]))
    assert one.load() == (0, 0, 1, True)     # shares of the room are asked for before any batch
    one.submit([("a", 1), ("b", 2), ("a", 3)], got)
    assert got.wait(3) == [10, 20, 30]
    assert sorted(seen) == [("a", [1, 3]), ("b", [2])]
    one.close()
    assert sorted(figures) == [(1, 4), (2, 4)]


def test_a_failure_ends_its_batch_only(batching):
    def run(bucket, contents):
        if bucket == "bad":
            raise ValueError("no")
        return contents

    got = Answers()
    batching(run).submit([("bad", 1), ("good", 2)], got)
    bad, good = got.wait(2)
    assert isinstance(bad, ValueError) and good == 2


def test_full_queues_refuse_all_or_nothing_and_the_gone_are_forgotten(batching):
    go, started, seen, got = threading.Event(), threading.Event(), [], Answers()

    def run(bucket, contents):
        started.set()
        assert go.wait(10)
        seen.extend(contents)
        return contents

    one = batching(run, limit=2)
    one.submit([("a", 0)], got)
    assert started.wait(10)
    cancel = one.submit([("a", 1), ("a", 2)], got)
    with pytest.raises(QueueFullError, match="2 inputs wait and 1 more"):
        one.submit([("a", 3)], got)
    cancel()
    one.submit([("b", 4)], lambda at, answer: got(7, answer))
    go.set()
    assert got.wait(2) == [0, 4] and seen == [0, 4]


def test_one_caller_has_his_share_of_the_queue_and_hears_how_long_it_takes(batching):
    go, started, got = threading.Event(), threading.Event(), Answers()
    one = batching(lambda bucket, contents: (started.set(), go.wait(10), contents)[2], rows=1,
                   limit=4, share=0.5)
    one.submit([("a", 0)], got)
    assert started.wait(10)
    one.pace = 7.0                       # seconds a row
    one.submit([("a", 1), ("a", 2)], lambda at, answer: None, caller="mine")
    with pytest.raises(ShareFullError, match="2 inputs wait and 1 more do not fit in 2") as caught:
        one.submit([("a", 3)], got, caller="mine")
    assert caught.value.retry == 7
    one.submit([("a", 4), ("a", 5)], lambda at, answer: None, caller="yours")
    with pytest.raises(QueueFullError, match="4 inputs wait and 2 more") as caught:
        one.submit([("a", 6), ("a", 7)], got, caller="theirs")
    assert caught.value.retry == 14 and not isinstance(caught.value, ShareFullError)
    go.set()


def test_rows_that_waited_too_long_are_told_so_and_those_of_a_closed_thread_too(batching):
    go, got = threading.Event(), Answers()
    one = batching(lambda bucket, contents: (go.wait(10), contents)[1], rows=1)
    one.submit([("a", 0)], got)
    while one.load().busy == 0:
        time.sleep(0.001)
    one.submit([("a", 1)], lambda at, answer: got(1, answer), patience=0.0)
    one.submit([("a", 2)], lambda at, answer: got(2, answer))
    closing = threading.Thread(target=one.close)
    time.sleep(0.01)
    closing.start()
    go.set()
    first, late, stopped = got.wait(3)
    closing.join(10)
    assert first == 0 and isinstance(late, LateError | StoppedError)
    assert isinstance(stopped, StoppedError | int)
    with pytest.raises(StoppedError):
        one.submit([("a", 3)], got)
