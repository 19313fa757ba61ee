"""Gopher's rules of quality, one planted document a rule, and what the dialects disagree on."""

import pytest

from data_pipelines.kernels import gopher
from data_pipelines.kernels.dialect_words import gram_words, rule_words
from data_pipelines.kernels.lexicon import Lexicon

PROSE = "the people of this town have gone to the market with their baskets and the dogs " * 4


def verdict(text, dialect):
    read, other = gram_words(dialect), rule_words(dialect)
    words = read([text])
    own = other([text]) if other else words
    found = gopher.judge([text], own, gopher.DIALECTS[dialect], words)[0]
    return found and found[0]


@pytest.mark.parametrize(("text", "reason"), [
    (PROSE, None),
    ("the end of it " * 10, "gopher_short_doc"),
    ("the a to of an if " * 20, "gopher_below_avg_threshold"),
    ("the extraordinarily incomprehensible of incomprehensible " * 20,
     "gopher_above_avg_threshold"),
    (PROSE + "# " * 10, "gopher_too_many_hashes"),
    (PROSE + "so... " * 10, "gopher_too_many_ellipsis"),
    (PROSE.replace("the ", "\n - the "), "gopher_too_many_bullets"),
    ("\n".join(PROSE[i:i + 80] + "…" for i in range(0, 320, 80)),
     "gopher_too_many_end_ellipsis"),
    (PROSE + "123 " * 30, "gopher_below_alpha_threshold"),
    ("many people leave this small town every single morning " * 8, "gopher_enough_stop_words"),
    ("the people leave this small town every single morning " * 8, "gopher_enough_stop_words")])
def test_the_first_failing_rule_names_the_drop(text, reason):
    assert verdict(text, "fast") == reason


def test_bounds_themselves_pass():
    fifty = ("the of " + "word " * 48).strip()
    assert verdict(fifty, "fast") is None
    assert verdict(fifty.removesuffix(" word"), "fast") == "gopher_short_doc"


def test_punctuation_is_no_word_of_a_short_document():
    assert verdict("the of " + "word " * 45 + "--- " * 9, "fast") == "gopher_short_doc"


def test_dialects_disagree_where_their_code_does():
    once = "The people leave this small town every single morning " * 8
    assert verdict(once, "fast") == "gopher_enough_stop_words"
    assert verdict(once, "dolma") == "gopher_enough_stop_words"      # as written: none
    pytest.importorskip("uniseg", reason="uniseg is not installed")
    assert verdict(once, "dclm") is None                             # without case: eight
    stars = PROSE.replace("the ", "\n* the ")
    assert verdict(stars, "fast") is None
    assert verdict(stars, "dclm") == "gopher_too_many_bullets"
    long = "to the an of by in " * 20 + "incomprehensibilities " * 80
    assert verdict(long, "dolma") == "gopher_below_avg_threshold"    # the median
    assert verdict(long, "fast") is None                             # the mean


def test_a_document_without_words_is_short():
    assert [v[0] for v in gopher.judge(["", "..."], Lexicon().read(["", "..."]),
                                       gopher.DIALECTS["fast"])] == ["gopher_short_doc"] * 2
