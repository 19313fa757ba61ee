"""The bundled model drops insults, however long the document around them, and keeps prose."""

import pytest

from data_pipelines.table import column

pytest.importorskip("profanity_check", reason="needs ssljax[toxicity]")
from data_pipelines.steps import toxicity  # noqa: E402

INSULT = "You are a stupid idiot, go fuck yourself, you piece of shit."
PLAIN = "The committee met on Tuesday to discuss the budget of the library.\n"


def test_insults_are_dropped_and_prose_is_kept(table):
    out = toxicity.make()(table([INSULT, PLAIN, "", PLAIN * 100 + INSULT + "\n" + PLAIN * 100]))
    assert column(out, "dropped") == ["toxic", None, None, "toxic"]
    assert column(out, "toxicity")[2] == 0 and column(out, "toxicity")[1] < 0.2


def test_passages_make_up_the_text():
    text = PLAIN * 9 + "x" * 300 + " y"
    found = toxicity.passages(text, 100)
    assert "".join(found) == text and max(map(len, found)) == 100
    assert all(p.endswith("\n") for p in found[:9])
