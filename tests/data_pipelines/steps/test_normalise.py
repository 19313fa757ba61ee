"""Normalising: one spelling, idempotent, nothing a reader sees is lost."""

import pytest

from data_pipelines.steps.normalise import make, normalise


@pytest.mark.parametrize("before, after", [
    ("e\u0301", "é"), ("a\r\nb\rc\u2028d\x85e", "a\nb\nc\nd\ne"),
    ("\ufeffa\x00\x0c\x1b\x7f\x9fb\tc", "ab\tc"),
    ("ﬁ Ⅳ ①  ", "ﬁ Ⅳ ①  "), ("e\x00\u0301", "é")])
def test_text_gets_its_one_spelling(before, after):
    assert normalise(before) == after
    assert normalise(after) == after


def test_every_row_is_normalised_and_nothing_dropped(table):
    done = make()(table(["a\r\n", "\ufeffb"]))
    assert done["text"].to_pylist() == ["a\n", "b"]
    assert done["dropped"].null_count == 2
