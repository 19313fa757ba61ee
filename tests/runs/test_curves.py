"""Curves are the logged numbers, on the axis that was asked for; what is missing is named."""

import math

import pytest

from ssljax.core.errors import ConfigError, DataError
from ssljax.runs.curves import choose_metrics, curve, differences, elapsed, load_runs, smooth
from tests.runs.folders import make_run

ROWS = [{"step": 10, "loss": 4.0, "seconds": 2.0, "grad_norm/blocks/0": 1.0},
        {"step": 10, "knn/accuracy": 0.5},
        {"step": 20, "loss": math.nan, "seconds": 4.0},
        {"step": 30, "loss": 3.0, "seconds": 1.5, "grad_norm/head": 2.0}]     # a second attempt


@pytest.fixture
def run(tmp_path):
    return load_runs([make_run(tmp_path / "r", metrics=ROWS)])[0]


@pytest.mark.parametrize("axis, expected", [
    ("step", [(10, 4.0), (30, 3.0)]), ("tokens", [(10 * 8 * 64, 4.0), (30 * 8 * 64, 3.0)]),
    ("seconds", [(2.0, 4.0), (5.5, 3.0)])])
def test_finite_values_lie_where_the_axis_says(run, axis, expected):
    assert curve(run, "loss", axis) == expected


def test_evaluations_lie_at_the_time_of_the_row_before(run):
    assert curve(run, "knn/accuracy", "seconds") == [(2.0, 0.5)]
    assert elapsed([{}, {"seconds": 3.0}, {}, {"seconds": 1.0}]) == [0.0, 3.0, 3.0, 4.0]


def test_images_have_no_token_axis(tmp_path):
    folder = make_run(tmp_path / "r", metrics=ROWS, config={"seq_len": 0})
    with pytest.raises(ConfigError, match="no seq_len; use --x step"):
        curve(load_runs([folder])[0], "loss", "tokens")


def test_metrics_are_named_matched_or_the_usual(run):
    assert choose_metrics([run], []) == ["loss", "knn/accuracy"]
    assert choose_metrics([run], ["grad_norm/*", "loss", "grad_norm/head"]) == [
        "grad_norm/blocks/0", "grad_norm/head", "loss"]
    with pytest.raises(ConfigError, match='No run logged "losss"; did you mean "loss"'):
        choose_metrics([run], ["losss"])


def test_smoothing_keeps_a_constant_and_follows_the_definition():
    assert [y for _, y in smooth([(i, 3.0) for i in range(5)], 0.9)] == pytest.approx([3.0] * 5)
    values, weight = [4.0, 1.0, 5.0, 2.0], 0.7
    for n, (_, got) in enumerate(smooth(list(enumerate(values)), weight), 1):
        weights = [weight**(n - 1 - i) for i in range(n)]
        assert got == pytest.approx(
            sum(w * v for w, v in zip(weights, values, strict=False)) / sum(weights))
    assert smooth([(0, 1.0), (1, 7.0)], 0.0) == [(0, 1.0), (1, 7.0)]


def test_runs_are_told_apart_by_what_their_paths_do_not_share(tmp_path):
    folders = [make_run(tmp_path / name, metrics=ROWS) for name in ("a/lr1", "b/lr1")]
    assert [r.label for r in load_runs([*folders, folders[0]])] == ["a/lr1", "b/lr1"]
    assert load_runs(folders[:1])[0].label == "lr1"


@pytest.mark.parametrize("name, message", [("base", 'did you mean ".*/bass"'),
                                           ("none/here", "is not a run folder"),
                                           ("empty", "has no line yet")])
def test_a_folder_that_is_no_run_is_refused_with_the_nearest(tmp_path, name, message):
    make_run(tmp_path / "bass", metrics=ROWS)
    make_run(tmp_path / "empty", checkpoints=[1])
    with pytest.raises(DataError, match=message):
        load_runs([tmp_path / name])


def test_differences_are_the_keys_that_differ():
    assert differences([{"lr": 1, "same": 2}, {"lr": 3, "same": 2, "new": None},
                        {"lr": 1, "same": 2, "new": 4}]) == {"lr": [1, 3, 1],
                                                             "new": [None, None, 4]}
