"""How a shadow's answers are compared: by the tokens that were drawn."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from ssljax.core.errors import RequestError
from ssljax.serve.engine import Engine
from ssljax.serve.fields import Limits
from ssljax.serve.jobs import Job, Piece, Sampling
from ssljax.serve.served import Served
from ssljax.serve.shadow import check_comparable, common_prefix, make_shadow

JOB = Job((1, 2), "hi", 9, Sampling())


def engine_of(*answers):
    """An engine that answers its requests, one after the other, with these tokens."""
    given = iter(answers)

    def submit(jobs):
        for _, deliver in jobs:
            tokens = next(given)
            deliver(Piece())                                     # what precedes the first token
            for at, token in enumerate(tokens):
                last = at == len(tokens) - 1
                deliver(Piece("", (), at + 1, "length" if last else None, token=token))

    return Engine(submit, lambda: SimpleNamespace(waiting=0), lambda: None)


def test_the_report_is_that_of_the_definitions():
    draw = np.random.default_rng(0)
    theirs = [draw.integers(3, size=draw.integers(1, 6)).tolist() for _ in range(60)]
    ours = [draw.integers(3, size=draw.integers(1, 6)).tolist() for _ in range(60)]
    ours[:20] = theirs[:20]
    shadow = make_shadow(engine_of(*ours))
    for at in range(0, 60, 2):                                   # two choices a request
        shadow.copy([JOB, JOB], theirs[at:at + 2], 0.5)

    def alike(a, b):
        return next(n for n in range(7) if a[:n + 1] != b[:n + 1] or n == len(a) == len(b))

    common = [alike(a, b) for a, b in zip(theirs, ours, strict=True)]
    longest = [max(len(a), len(b)) for a, b in zip(theirs, ours, strict=True)]
    differ = [n for n, of in zip(common, longest, strict=True) if n < of]
    found, requests = shadow.report(), [theirs[i:i + 2] == ours[i:i + 2] for i in range(0, 60, 2)]
    assert (found["compared"], found["copied"], found["failed"]) == (30, 30, 0)
    assert found["identical"] == sum(requests) and found["identical_share"] == sum(requests) / 30
    assert found["common_tokens_mean"] == sum(common) / 60
    assert found["token_agreement"] == pytest.approx(np.mean(np.divide(common, longest)))
    assert found["first_difference_min"] == min(differ)
    assert found["first_difference_p50"] == np.median(differ) and 10 < len(differ) < 40
    assert found["seconds_p50"] == 0.5


def test_without_answers_there_is_nothing_to_tell():
    found = make_shadow(engine_of()).report()
    assert found["compared"] == 0 and {found[name] for name in (
        "identical_share", "token_agreement", "common_tokens_mean", "first_difference_p50",
        "first_difference_min", "seconds_p50")} == {None}


def test_answers_of_nothing_agree():
    shadow = make_shadow(engine_of([5]))
    shadow.copy([JOB], [[5]], 0.1)
    assert shadow.report()["identical_share"] == 1 == shadow.report()["token_agreement"]
    assert common_prefix([], []) == 0 and common_prefix([1, 2], [1, 2, 3]) == 2


def test_who_hands_over_does_not_wait_for_a_grammar_to_be_compiled():
    compiled, answering = threading.Event(), engine_of([5], *[[6]] * 99)

    def submit(jobs):
        assert threading.current_thread() is not threading.main_thread() and compiled.wait(10)
        answering.submit(jobs)

    shadow = make_shadow(answering._replace(submit=submit))
    for _ in range(3):                                           # the first is being compiled
        shadow.copy([JOB._replace(grammar="{}")], [[5]], 0.1)
    assert (shadow.report()["dropped"], shadow.report()["copied"]) == (2, 0)
    compiled.set()
    wait_for(lambda: shadow.report()["copied"] == 1)
    assert shadow.report()["identical"] == 1

    def another():
        shadow.copy([JOB._replace(grammar="{}")], [[5]], 0.1)
        return shadow.report()["compared"] > 1

    wait_for(another)


@pytest.mark.parametrize("grammar", [None, "{}"])
def test_what_the_shadow_cannot_follow_has_failed(grammar):
    def submit(jobs):
        raise RequestError("The grammar cannot be followed.")

    shadow = make_shadow(engine_of()._replace(submit=submit))
    shadow.copy([JOB._replace(grammar=grammar)], [[5]], 0.1)
    wait_for(lambda: shadow.report()["failed"] == 1)
    assert (shadow.report()["copied"], shadow.report()["dropped"]) == (0, 0)


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_only_versions_of_the_same_tokens_are_compared():
    def version(number, tokenizer, engine=True):
        artefact = SimpleNamespace(manifest={"tokenizer": {"fingerprint": tokenizer}})
        return Served("m", number, artefact, "", 0, engine or None, Limits(8))

    check_comparable(version("2", "x"), [version("1", "x"), version("2", "x")])
    with pytest.raises(RequestError, match="m@2 has another tokenizer than m@1"):
        check_comparable(version("2", "x"), [version("1", "y")])
    with pytest.raises(RequestError, match="m@2 generates no text"):
        check_comparable(version("2", "x", engine=False), [version("1", "x")])
