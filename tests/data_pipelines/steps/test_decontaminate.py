"""Documents with items of evaluation sets go, and name the item."""

import json

import pytest

from data_pipelines.steps.decontaminate import make
from data_pipelines.table import drop
from ssljax.core.errors import ConfigError, DataError


@pytest.fixture
def evals(tmp_path, prose):
    path = tmp_path / "quiz.jsonl"
    path.write_text("".join(json.dumps({"question": prose(50 + i, 25)}) + "\n" for i in range(5)))
    return str(path)


def test_a_leak_is_dropped_and_names_the_most_whole_item(evals, table, prose):
    part = " ".join(prose(51, 25).split()[:21])
    rows = make(evals=(evals,))(table([prose(1) + prose(52, 25).upper() + part + prose(2),
                                       prose(3)])).to_pylist()
    assert rows[0]["dropped"] == "contaminated" and rows[0]["detail"] == "quiz:2 1.00 2"
    assert rows[1]["dropped"] is None


def test_rows_dropped_before_keep_their_reason(evals, table, prose):
    before = drop(table([prose(50, 25), prose(51, 25)]), {0: ("not_text", "x")})
    assert make(evals=(evals,))(before)["dropped"].to_pylist() == ["not_text", "contaminated"]


def test_an_empty_table_passes(evals, table):
    assert make(evals=(evals,))(table([])).num_rows == 0


@pytest.mark.parametrize("kwargs", [{"at_least": 0.2}, {"at_least": 1.1}, {"evals": ()}])
def test_settings_that_cannot_be_are_refused(evals, kwargs):
    with pytest.raises(ConfigError, match="decontaminate"):
        make(**{"evals": (evals,), **kwargs})


def test_a_missing_set_is_said_before_anything_runs(tmp_path):
    with pytest.raises(DataError, match="no evaluation set"):
        make(evals=(str(tmp_path / "none"),))
