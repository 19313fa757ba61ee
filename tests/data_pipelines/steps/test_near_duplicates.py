"""Near-duplicates: only checked copies go, clusters hold what resembles, in any order of rows."""

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.kernels import bands
from data_pipelines.steps.near_duplicates import make
from data_pipelines.table import drop
from ssljax.core.errors import ConfigError


def judged(step, table):
    return {r["source"]: r for r in step(table).to_pylist()}


def test_a_lightly_edited_copy_is_dropped_and_names_its_survivor(table, prose, edited):
    rows = judged(make(), table({"a": prose(1, 300), "b": edited(prose(1, 300), 50, "x"),
                                 "c": prose(2, 300)}))
    survivor, similarity = rows["b"]["detail"].split()
    assert rows["b"]["dropped"] == "near_duplicate" and survivor == rows["a"]["id"]
    assert 0.9 < float(similarity) < 1
    assert rows["a"]["cluster"] == rows["b"]["cluster"] == rows["a"]["id"]
    assert rows["a"]["dropped"] is None and rows["c"]["dropped"] is None
    assert rows["c"]["cluster"] == rows["c"]["id"]


def test_the_longest_survives_and_then_the_smallest_id(table, prose, edited):
    text = prose(1, 300)
    rows = judged(make(), table({"short": text[:-30], "long": text}))
    assert rows["short"]["dropped"] and not rows["long"]["dropped"]
    ties = judged(make(), table({"a": edited(text, 9, "xx"), "b": edited(text, 9, "yy")}))
    kept, gone = sorted(ties.values(), key=lambda r: r["id"])
    assert (kept["dropped"], gone["dropped"]) == (None, "near_duplicate")


def test_quality_decides_before_length(table, prose):
    text = prose(1, 300)
    before = table({"short": text[:-30], "long": text})
    scored = before.append_column("score", pa.array([0.9, 0.1]))
    rows = judged(make(quality="score"), scored)
    assert not rows["short"]["dropped"] and rows["long"]["dropped"]
    unknown = before.append_column("score", pa.array([None, 0.1]))
    assert judged(make(quality="score"), unknown)["short"]["dropped"]
    with pytest.raises(ConfigError, match="score"):
        make(quality="score")(before)


def test_documents_half_alike_are_both_kept_in_one_cluster(table, prose):
    rows = judged(make(), table({"a": prose(1, 200) + prose(2, 100),
                                 "b": prose(1, 200) + prose(3, 100)}))
    assert not rows["a"]["dropped"] and not rows["b"]["dropped"]
    assert rows["a"]["cluster"] == rows["b"]["cluster"]


def test_a_vendored_copy_in_a_longer_document_shares_its_cluster(table, prose):
    rows = judged(make(), table({"bundle": prose(1, 900) + prose(2, 200) + prose(3, 900),
                                 "part": prose(2, 200), "other": prose(4, 200)}))
    assert not any(r["dropped"] for r in rows.values())
    assert rows["part"]["cluster"] == rows["bundle"]["cluster"] != rows["other"]["cluster"]


def test_hashing_alone_drops_nothing(table, prose, edited, monkeypatch):
    """Every pair is made a candidate of estimated similarity 1; only the true copy may go."""
    monkeypatch.setattr("data_pipelines.steps.near_duplicates.signatures",
                        lambda sets, n: np.zeros((len(sets.starts) - 1, n), np.uint32))
    texts = {str(i): prose(i, 200) for i in range(12)} | {"copy": edited(prose(3, 200), 70, "x")}
    rows = judged(make(), table(texts))
    assert {s for s, r in rows.items() if r["dropped"]} <= {"copy", "3"}
    assert sum(bool(r["dropped"]) for r in rows.values()) == 1
    assert len({r["cluster"] for r in rows.values()}) == 12


def test_the_order_of_rows_does_not_matter(table, prose, edited):
    texts = [edited(prose(i % 6, 150), 10 * (i // 6) + 5, f"w{i}") for i in range(24)]
    before = table(texts)
    expected = make()(before).to_pylist()
    assert 12 < sum(r["dropped"] is not None for r in expected) < 24
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(24)
        turned = make()(before.take(pa.array(order))).to_pylist()
        assert [turned[i] for i in np.argsort(order)] == expected


def test_a_family_larger_than_the_window_leaves_one(table, prose, edited):
    family = [edited(prose(1, 400), 5 + i, f"w{i}") for i in range(3 * bands.WINDOW)]
    rows = make(drop=0.9)(table(family)).to_pylist()
    assert sum(r["dropped"] is None for r in rows) == 1
    assert len({r["cluster"] for r in rows}) == 1


def test_exact_duplicates_follow_their_survivor_into_its_cluster(table, prose, edited):
    from data_pipelines.steps import exact_duplicates
    text = prose(1, 300)
    step = exact_duplicates.make()
    rows = make()(step(table([text, text, edited(text, 50, "longer-word")]))).to_pylist()
    assert len({r["cluster"] for r in rows}) == 1
    assert sorted(str(r["dropped"]) for r in rows) == ["None", "exact_duplicate", "near_duplicate"]


def test_rows_dropped_before_take_no_part(table, prose):
    rows = make()(drop(table([prose(1), prose(1)]), {0: ("not_text", "x")})).to_pylist()
    assert [r["dropped"] for r in rows] == ["not_text", None]
    assert rows[0]["cluster"] != rows[1]["cluster"]


@pytest.mark.parametrize("count", [0, 1])
def test_few_rows_pass(table, prose, count):
    assert make()(table([prose(i) for i in range(count)]))["dropped"].null_count == count


@pytest.mark.parametrize("kwargs", [{"drop": 0.4}, {"cluster": 0.0}, {"drop": 1.5}, {"rows": 3},
                                    {"columns": 96}, {"words": 0}])
def test_settings_that_cannot_be_are_refused(kwargs):
    with pytest.raises(ConfigError, match="near_duplicates"):
        make(**kwargs)
