"""Exact duplicates: one survivor, named, whatever the order."""

import pyarrow as pa

from data_pipelines.steps.exact_duplicates import make
from data_pipelines.table import add_column, drop


def test_equal_texts_leave_the_smallest_id_which_is_named(table, prose):
    rows = make()(table([prose(1), prose(2), prose(1) + "\n\n", prose(1)])).to_pylist()
    same = [rows[i] for i in (0, 2, 3)]
    survivor = min(r["id"] for r in same)
    for row in same:
        assert (row["dropped"], row["detail"]) == (
            (None, None) if row["id"] == survivor else ("exact_duplicate", survivor))
        assert row["cluster"] == survivor
    assert rows[1]["dropped"] is None and rows[1]["cluster"] == rows[1]["id"]


def test_the_order_of_rows_does_not_matter(table, prose):
    before = table([prose(i % 3) for i in range(9)])
    turned = make()(before.take(pa.array(range(8, -1, -1)))).to_pylist()
    assert turned[::-1] == make()(before).to_pylist()


def test_a_dropped_row_is_no_survivor(table, prose):
    before = table([prose(1), prose(1)])
    first = min(range(2), key=lambda i: before["id"][i].as_py())
    rows = make()(drop(before, {first: ("too_short", "x")})).to_pylist()
    assert rows[1 - first]["dropped"] is None
    assert rows[first]["dropped"] == "too_short"


def test_quality_decides_before_the_id(table, prose):
    before = table([prose(1)] * 3)
    best = {r["id"] for r in before.to_pylist()}
    for winner in range(3):
        scored = before.append_column("score", pa.array([float(i == winner) for i in range(3)]))
        rows = make(quality="score")(scored).to_pylist()
        assert [r["dropped"] is None for r in rows] == [i == winner for i in range(3)]
        assert {r["detail"] for r in rows} - {None} == {rows[winner]["id"]} <= best


def test_another_column_is_compared_where_it_has_a_value(table):
    given = add_column(table(["", "", "", ""]), "sha256", pa.array(["a", "b", "a", None]))
    found = make(key="sha256")(given)["dropped"].to_pylist()
    assert sorted(map(str, (found[0], found[2]))) == ["None", "exact_duplicate"]
    assert found[1] is None and found[3] is None
