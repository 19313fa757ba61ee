"""The alarm on numbers that were made up: when it fires, when it must not, what it says."""

import math

import numpy as np
import pytest

from ssljax.core.errors import Interrupted
from ssljax.train.alarm import RULES, Bell, CollapsedError, Watch
from tests.train.test_loop import counting_step
from tests.train.test_loop import run as run_loop

RNG = np.random.default_rng(0)
STEPS = range(10, 310, 10)


def noisy(values):
    return [v * (1 + 0.02 * RNG.normal()) for v in values]


def fired(**series):
    """Return (step, metric) of every alarm on series of one value every ten steps."""
    watch, found = Watch(), []
    for i, step in enumerate(STEPS):
        found += [(a.step, a.metric) for a in watch(step, {n: s[i] for n, s in series.items()})]
    return found


def falling(start, end):
    return noisy(np.geomspace(start, end, len(STEPS)))


HEALTHY = {
    "loss": falling(6.0, 3.0), "grad_norm": falling(2.0, 0.05),
    "embedding_std": noisy(np.linspace(0.15, 0.8, len(STEPS))),
    "teacher_entropy": noisy(np.linspace(0.9, 0.2, len(STEPS))),
    "teacher_kl_uniform": noisy(np.linspace(0.02, 0.5, len(STEPS))), "rejected": [0.0] * 30}


def test_a_healthy_run_is_left_alone():
    assert fired(**HEALTHY) == []


@pytest.mark.parametrize("loss", [
    falling(-0.05, -0.95),                        # SimSiam's, which falls below zero
    noisy([0.7] * 30), falling(11.0, 0.4), noisy(np.linspace(7, 7.2, 30))])
def test_losses_of_any_sign_and_course_are_no_alarm(loss):
    assert fired(**{**HEALTHY, "loss": loss}) == []


@pytest.mark.parametrize(("metric", "values"), [
    ("projection_std", [0.97, 0.9] + [0.4, 0.55, 0.5, 0.45] * 7),
    ("embedding_std", falling(0.3, 0.001)),
    ("target_std", [0.3] * 8 + [0.01] * 22),
    ("loss", [5.5] * 3 + [math.log(128)] * 27), ("loss", falling(2.0, 1e-6)),
    ("grad_norm", falling(1.0, 1e-6))])
def test_each_sign_fires_once_and_names_its_metric(metric, values):
    assert [name for _, name in fired(**{**HEALTHY, metric: values})] == [metric]


@pytest.mark.parametrize(("entropy", "divergence"), [
    (0.999, 0.0005), (0.02, 0.975), (0.177, 0.821)])      # the last is DINO's without its centre
def test_assignments_that_tell_nothing_fire_wherever_they_come_to_rest(entropy, divergence):
    series = {"teacher_entropy": [0.6] * 8 + [entropy] * 22,
              "teacher_kl_uniform": [0.2] * 8 + [divergence] * 22}
    (step, name), = fired(**{**HEALTHY, **series})
    assert name == "teacher_kl_uniform"
    assert step in (110, 130)


def test_few_prototypes_that_do_tell_images_apart_are_a_dead_codebook():
    series = {"code_entropy": [0.001] * 30, "code_kl_uniform": [0.3] * 8 + [0.92] * 22}
    assert fired(**series) == [(110, "code_kl_uniform")]


def test_features_that_vanish_are_told_at_once_and_ones_that_stay_low_after_a_while():
    (step, _), = fired(embedding_std=falling(0.3, 0.001))
    assert 100 < step < 150
    assert fired(embedding_std=[0.045] * 30) == [(120, "embedding_std")]
    assert fired(embedding_std=[0.045] * 6 + [0.1] * 24) == []


def test_a_sign_must_last_and_is_told_again_only_after_it_was_gone():
    short = [0.3] * 8 + [0.001] * 2 + [0.3] * 20
    assert fired(embedding_std=short) == []
    twice = [0.3] * 8 + [0.001] * 5 + [0.3] * 2 + [0.001] * 15
    assert fired(embedding_std=twice) == [(110, "embedding_std"), (180, "embedding_std")]


def test_values_that_are_not_finite_are_left_to_the_guard():
    values = [0.3] * 10 + [math.nan] * 20
    assert fired(embedding_std=values, loss=[math.inf] * 30) == []


def test_the_line_says_what_was_seen_since_when_why_and_what_to_try(caplog):
    bell = Bell("warn")
    for i, step in enumerate(STEPS):
        added = bell.hear(step, {"embedding_std": 0.3 if i < 8 else 0.0043})
        assert added == {"alarms": float(i >= 10)}
    assert bell.verdict() is None
    line, = [r.getMessage() for r in caplog.records]
    assert "Step 110: embedding_std = 0.0043 since step 90" in line
    assert "Usually" in line
    assert "try" in line
    assert all(rule.usually and rule.try_ and rule.meaning for rule in RULES)


def test_off_looks_at_nothing_and_other_processes_are_silent(caplog):
    for bell, counted in ((Bell("off"), {}), (Bell("stop", log=False), {"alarms": 1.0})):
        for step in STEPS:
            added = bell.hear(step, {"embedding_std": 0.001})
        assert added == counted
    assert caplog.records == []


def test_a_continued_run_counts_on_and_does_not_tell_again(caplog):
    whole, continued = Bell("warn", log=False), Bell("stop")
    for i, step in enumerate(STEPS):
        logged = {"loss": 6.0 - i / 10, "embedding_std": 0.3 if i < 8 else 0.0043}
        counts = whole.hear(step, logged)
        if i < 20:
            continued.recall([{"step": step, **logged, "kind": "told"},
                              {"step": step, "health/probe_std": 0.0}])
        else:
            assert continued.hear(step, logged) == counts == {"alarms": 1.0}
    assert caplog.records == []
    assert continued.verdict() is None


def test_stop_saves_and_ends_with_an_error_that_names_it():
    bell = Bell("stop", log=False)

    def step(state, batch):
        state, metrics = counting_step()(state, batch)
        return state, {**metrics, "embedding_std": np.float32(0.001)}

    logged, saved, error, _ = run_loop(step, total=90, log=1, checkpoint=1000, bell=bell)
    assert isinstance(error, CollapsedError)
    assert not isinstance(error, Interrupted)
    assert "embedding_std" in str(error)
    assert "alarm" in str(error)
    assert saved == [8]             # heard with step 7, whose numbers come while step 8 runs
    assert [scalars["alarms"] for _, scalars in logged][-2:] == [1.0, 1.0]
