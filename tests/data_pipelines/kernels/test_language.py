"""Who wins the vote of the two models of language."""

import pytest

from data_pipelines.kernels import language
from data_pipelines.kernels.language import DISAGREED, UNKNOWN, Language, identify


@pytest.mark.parametrize("tables, reliable, learned, answer", [
    (("de", 0.9), True, ("de", 0.6), ("de", 0.9)),                       # agreed: the surer score
    (("", 0.0), False, ("fr", 0.3), ("fr", 0.3)),                        # pycld2 has no answer
    (("nl", 0.9), False, ("af", 0.85), ("af", 0.85)),                    # unreliable, and sure
    (("nl", 0.9), True, ("af", 0.7), ("nl", 0.9 * DISAGREED)),           # reliable, and unsure
    (("nl", 0.9), True, ("af", 0.85), ("nl", 0.9 * DISAGREED)),          # both sure: the surer
    (("nl", 0.8), True, ("af", 0.95), ("af", 0.95 * DISAGREED)),
    (("", 0.0), False, ("", 0.0), (UNKNOWN, 0.0))])
def test_the_vote(monkeypatch, tables, reliable, learned, answer):
    monkeypatch.setattr(language, "by_tables", lambda _: (reliable, Language(*tables)))
    monkeypatch.setattr(language, "by_model", lambda _: Language(*learned))
    found = identify("text")
    assert found.code == answer[0] and found.score == pytest.approx(answer[1])


def test_both_models_name_languages_alike():
    hebrew = "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם"
    assert language.by_tables(hebrew)[1].code == language.by_model(hebrew).code == "he"
    assert language.by_tables("\x01\x02")[1].code == ""
