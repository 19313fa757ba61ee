"""A step for some rows: the others come back as they were, whatever it does."""

import pyarrow as pa
import pytest

from data_pipelines.engine.plan import Fitted, Grouped
from data_pipelines.recipe import read_recipe, resolve_steps
from data_pipelines.routing import routed
from data_pipelines.table import add_column, column, documents, drop, kept, replace, texts
from ssljax.core.errors import ConfigError, DataError


def table():
    made = documents([{"source": f"{i}", "row": 0, "text": f"text {i}", "licence": "x"}
                      for i in range(6)])
    made = add_column(made, "language", pa.array(["en", "de", "de", None, "fr", "en"]))
    return drop(made, {2: ("before", "told")})


def shout(given):
    """Write in capitals, score, and drop the first that is kept."""
    rows = kept(given).tolist()
    said = column(given, "text")
    for row, text in zip(rows, texts(given, rows), strict=True):
        said[row] = text.upper()
    made = replace(given, "text", said)
    scores = [1.0 if i in rows else None for i in range(given.num_rows)]
    return drop(add_column(made, "score", pa.array(scores)), {rows[0]: ("loud", "why")})


def test_only_chosen_rows_are_judged_and_the_rest_is_untouched():
    made = routed("shout", shout, {"language": ["de", "fr"]})(table())
    assert column(made, "text") == ["text 0", "TEXT 1", "text 2", "text 3", "TEXT 4", "text 5"]
    assert column(made, "dropped") == [None, "loud", "before", None, None, None]
    assert column(made, "detail") == [None, "why", "told", None, None, None]
    assert column(made, "score") == [None, 1.0, None, None, 1.0, None]


def test_two_routes_write_one_column():
    german = routed("shout", shout, {"language": ["de", "fr"]})(table())
    both = routed("shout", shout, {"language": ["en"]})(german)
    assert column(both, "score") == [1.0, 1.0, None, None, 1.0, 1.0]
    assert column(both, "dropped") == ["loud", "loud", "before", None, None, None]


def test_several_columns_must_all_agree_and_a_fitted_step_still_loads():
    loaded = []
    step = routed("shout", Fitted(lambda: loaded.append(1), shout),
                  {"language": ["en"], "source": ["5"]})
    step.load()
    assert loaded and column(step(table()), "score") == [None] * 5 + [1.0]


@pytest.mark.parametrize("where", [{}, "en", {"language": "en"}, {"language": []},
                                   {"language": [1]}])
def test_what_is_no_route_is_refused(where):
    with pytest.raises(ConfigError, match="expected columns and lists"):
        routed("shout", shout, where)


def test_grouped_steps_and_unknown_columns_are_refused():
    with pytest.raises(ConfigError, match="judges rows together"):
        routed("near", Grouped(None, (), None), {"language": ["en"]})
    with pytest.raises(DataError, match='column "topic"'):
        routed("shout", shout, {"topic": ["a"]})(table())


def test_a_recipe_says_where(tmp_path):
    recipe = read_recipe({"name": "r", "output": str(tmp_path / "o"), "steps": [
        {"name": "read_files"}, {"name": "language"},
        {"name": "normalise", "where": {"language": ["en"]}}]})
    step = dict(resolve_steps(recipe))["normalise"]
    made = step(replace(table(), "text", [" a \r\n b "] * 6))
    assert [t == " a \r\n b " for t in column(made, "text")] == [
        False, True, True, True, True, False]
