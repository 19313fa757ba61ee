"""Copied spans are cut, documents of nothing else go."""

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("pydivsufsort")

from data_pipelines.steps.repeated_spans import make  # noqa: E402
from ssljax.core.errors import ConfigError  # noqa: E402


def test_a_copied_passage_is_cut_from_the_shorter(table, prose):
    passage = prose(1, 60)
    rows = make()(table({"a": prose(2, 200) + passage, "b": "é " + prose(3, 60) + passage}))
    rows = {r["source"]: r for r in rows.to_pylist()}
    assert rows["a"]["text"] == prose(2, 200) + passage
    assert rows["b"]["text"].startswith("é ") and passage[20:] not in rows["b"]["text"]
    assert prose(3, 60)[:300] in rows["b"]["text"] and not rows["b"]["dropped"]


def test_a_document_of_copies_is_dropped_as_it_was(table, prose):
    rows = make()(table([prose(1, 300), prose(1, 300)[200:900]])).to_pylist()
    assert rows[1]["dropped"] == "repeated_spans" and rows[1]["detail"] == "1.000"
    assert rows[1]["text"] == prose(1, 300)[200:900]


def test_the_order_of_rows_does_not_matter(table, prose):
    before = table([prose(i % 4, 60) + prose(i, 60) for i in range(12)])
    expected = make()(before).to_pylist()
    order = np.random.default_rng(0).permutation(12)
    turned = make()(before.take(pa.array(order))).to_pylist()
    assert [turned[i] for i in np.argsort(order)] == expected


def test_an_empty_table_and_settings(table):
    assert make()(table([])).num_rows == 0
    with pytest.raises(ConfigError, match="repeated_spans"):
        make(length=2)
