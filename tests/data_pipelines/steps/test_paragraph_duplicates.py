"""One copy of a paragraph stays, and what is little beside copies goes."""

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.steps.paragraph_duplicates import make
from ssljax.core.errors import ConfigError

NOTICE = "All rights reserved by the owners of this page in 2024.\n"


def test_the_longest_keeps_the_paragraph(table, prose):
    rows = make()(table({"long": prose(1, 96) + NOTICE, "short": NOTICE + prose(2, 48)}))
    rows = {r["source"]: r for r in rows.to_pylist()}
    assert rows["long"]["text"] == prose(1, 96) + NOTICE
    assert rows["short"]["text"] == prose(2, 48).rstrip("\n") and not rows["short"]["dropped"]


def test_a_document_of_copies_is_dropped_as_it_was(table, prose):
    copy = prose(1, 60) + "Only this line is new to the whole of the corpus here.\n"
    rows = make()(table({"a": prose(1, 120), "b": copy})).to_pylist()
    assert rows[1]["dropped"] == "duplicate_paragraphs" and rows[1]["text"] == copy
    assert float(rows[1]["detail"]) == pytest.approx(1 - 55 / len(copy), abs=0.01)


def test_quality_decides_before_length(table, prose):
    before = table([prose(1, 96) + NOTICE, NOTICE + prose(2, 48)])
    scored = before.append_column("score", pa.array([1, 2]))
    assert make(quality="score")(scored)["text"].to_pylist() == [
        prose(1, 96).rstrip("\n"), NOTICE + prose(2, 48)]


def test_repeats_inside_a_document_go_too(table):
    rows = make(min_left=0.1)(table([NOTICE * 3 + "end"])).to_pylist()
    assert rows[0]["text"] == NOTICE + "end"


def test_the_order_of_rows_does_not_matter(table, prose):
    before = table([prose(i % 4, 24) + prose(i, 48) + prose(i % 3, 24) for i in range(15)])
    expected = make()(before).to_pylist()
    assert any(r["text"] != b for r, b in zip(expected, before["text"].to_pylist(), strict=True))
    order = np.random.default_rng(0).permutation(15)
    turned = make()(before.take(pa.array(order))).to_pylist()
    assert [turned[i] for i in np.argsort(order)] == expected
    assert make()(before, partitions=5).to_pylist() == expected


def test_nothing_to_cut(table, prose):
    assert make()(table([prose(1), ""])).equals(table([prose(1), ""]))
    assert make()(table([])).num_rows == 0


@pytest.mark.parametrize("kwargs", [{"min_words": 0}, {"min_left": 2.0}])
def test_settings_that_cannot_be_are_refused(kwargs):
    with pytest.raises(ConfigError, match="paragraph_duplicates"):
        make(**kwargs)
