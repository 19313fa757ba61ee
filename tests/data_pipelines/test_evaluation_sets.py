"""Every usual layout of an evaluation item is read; what is none is named."""

import json

import pytest

from data_pipelines.evaluation_sets import item_text, read_items
from ssljax.core.errors import DataError

LONG = "A question of more than a dozen words stands alone without any answer beside it here"


@pytest.mark.parametrize("fields, expected", [
    ({"question": LONG, "answer": "42"}, LONG),
    ({"query": "Question: Why?\n", "choices": ["no", "because"], "gold": 1}, "Why? because"),
    ({"context": "She went", "continuation": "home"}, "She went home"),
    ({"context_options": [f"{LONG} a", f"{LONG} b"], "continuation": "end.", "gold": 1},
     f"{LONG} b end."),
    ({"prompt": "def f():", "canonical_solution": "return 1"}, "def f(): return 1"),
    ({"text": "only this"}, "only this")])
def test_the_question_is_read_with_its_answer_where_it_is_brief(fields, expected):
    assert item_text(json.dumps(fields), "x") == expected


def test_a_folder_is_read_in_order_of_name(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n\n")
    items = read_items(str(tmp_path))
    assert items.names == ("a:0", "b:0") and items.texts == ("a", "b")
    assert items.sets() == ["a", "b"]
    assert read_items(str(tmp_path / "b.jsonl")).names == ("b:0",)


@pytest.mark.parametrize("line", ["{", "[]", "3", '{"other": 1}'])
def test_a_line_that_is_no_item_is_named(tmp_path, line):
    path = tmp_path / "set.jsonl"
    path.write_text('{"text": "fine"}\n' + line)
    with pytest.raises(DataError, match=r"set\.jsonl:1"):
        read_items(str(path))


def test_a_missing_set_is_named(tmp_path):
    with pytest.raises(DataError, match="no evaluation set"):
        read_items(str(tmp_path))
    with pytest.raises(DataError, match="absent"):
        read_items(str(tmp_path / "absent.jsonl"))
