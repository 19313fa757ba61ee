"""The table: rows stay, the first reason stays."""

from data_pipelines.table import column, count_dropped, document_id, documents, drop, kept


def test_new_rows_have_distinct_ids_and_stand_for_themselves():
    made = documents([{"source": s, "row": r, "text": "", "licence": "x"}
                      for s in ("a", "b") for r in (0, 1)])
    assert len(set(column(made, "id"))) == 4
    assert column(made, "cluster") == column(made, "id")
    assert column(made, "id")[0] == document_id("a", 0) and len(document_id("a", 0)) == 16


def test_the_first_reason_stays_and_no_row_goes(table):
    once = drop(table(["a", "b", "c"]), {1: ("first", "x")})
    twice = drop(once, {1: ("second", "y"), 2: ("second", "z")})
    assert column(twice, "dropped") == [None, "first", "second"]
    assert column(twice, "detail") == [None, "x", "z"]
    assert kept(twice).tolist() == [0]


def test_reasons_are_counted_most_frequent_first(table):
    verdicts = {0: ("b", ""), 1: ("a", ""), 2: ("c", ""), 3: ("c", "")}
    assert list(count_dropped(drop(table(["x"] * 5), verdicts)).items()) == [
        ("c", 2), ("a", 1), ("b", 1)]


def test_an_empty_table_has_every_column(table):
    assert table([]).num_rows == 0 and column(table([]), "text") == []
    assert kept(table([])).tolist() == []
