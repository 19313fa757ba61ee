"""Which checkpoints stay."""

import math

import pytest

from ssljax.core.errors import ConfigError
from ssljax.train.retention import Retention, check_best


def steps(**values):
    return {int(n[1:]): {"eval/loss": v} for n, v in values.items()}


def test_latest_every_and_best_are_united():
    seen = steps(s10=3.0, s20=1.0, s30=2.0, s40=5.0, s50=4.0)
    assert Retention(2).kept(seen) == {40, 50}
    assert Retention(1, every=20).kept(seen) == {20, 40, 50}
    assert Retention(1, best="eval/loss").kept(seen) == {20, 50}
    assert Retention(1, best="-eval/loss").kept(seen) == {40, 50}


def test_of_equals_the_older_is_best_and_what_is_not_finite_never_is():
    assert Retention(1, best="eval/loss").kept(steps(s1=math.nan, s2=2.0, s3=2.0, s4=9.0)) == {2, 4}
    assert Retention(1, best="eval/loss").kept({1: {}, 2: {}}) == {2}


def test_a_best_that_is_never_judged_is_refused():
    with pytest.raises(ConfigError, match=r"names no evaluator.*\['bits'\]"):
        check_best("loss", {"bits": 10}, 100)
    with pytest.raises(ConfigError, match=r"evals.bits.every = 30 must divide checkpoint_steps"):
        check_best("bits/model", {"bits": 30}, 100)
    with pytest.raises(ConfigError, match="every = 0"):
        check_best("-bits/model", {"bits": 0}, 100)
    check_best("-bits/model", {"bits": 50}, 100)
    check_best("", {}, 7)
