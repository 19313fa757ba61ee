"""The step that redacts personal data counts by kind, and judges only what nothing dropped."""

import pytest

from data_pipelines.steps import pii
from data_pipelines.table import drop
from ssljax.core.errors import ConfigError

TEXTS = ["Write to a@b.org or c@d.org.", "Nothing here.", "From 98.138.8.8, a@b.org"]


def test_findings_are_replaced_and_counted(table):
    out = pii.make()(table(TEXTS))
    assert out["text"].to_pylist() == ["Write to <EMAIL> or <EMAIL>.", "Nothing here.",
                                       "From <IP>, <EMAIL>"]
    assert out["pii_email"].to_pylist() == [2, 0, 1] and out["pii_ip"].to_pylist() == [0, 0, 1]
    assert out["dropped"].null_count == 3


def test_replacements_are_the_users(table):
    out = pii.make(replacement="|||", replacements={"ip": "22.214.171.124"})(table(TEXTS))
    assert out["text"].to_pylist()[2] == "From 22.214.171.124, |||"


def test_counting_changes_no_text_and_kinds_are_chosen(table):
    out = pii.make(action="count", kinds=("ip",))(table(TEXTS))
    assert out["text"].to_pylist() == TEXTS and "pii_email" not in out.schema.names


def test_documents_with_too_much_are_dropped_with_the_counts(table):
    out = pii.make(max_findings=1)(table(TEXTS))
    assert out["dropped"].to_pylist() == ["pii", None, "pii"]
    assert out["detail"].to_pylist() == ["email 2", None, "email 1 ip 1"]


def test_a_dropped_row_is_not_read(table):
    out = pii.make()(drop(table(TEXTS), {0: ("too_short", "")}))
    assert out["text"].to_pylist()[0] == TEXTS[0] and out["pii_email"].to_pylist()[0] is None


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match='did you mean "email"'):
        pii.make(kinds=("emial",))
