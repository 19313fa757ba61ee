"""Lists of addresses and of words."""

import re

import pytest

from data_pipelines.kernels.url_rules import Lists, compile_subwords, judge
from data_pipelines.kernels.word_list import compile_list, find

LISTS = Lists(frozenset({"bad.example", "co.evil"}), frozenset({"https://ok.example/one"}),
              frozenset({"casino"}), frozenset({"free", "win", "bonus"}),
              compile_subwords(["Poker-Stars"]))


@pytest.mark.parametrize(("url", "reason"), [
    ("https://www.bad.example/x", "url_domain"), ("bad.example", "url_domain"),
    ("https://notbad.example/x", None), ("https://bad.example.org/", None),
    ("http://user:pw@a.co.evil:8080/", "url_domain"), ("https://BAD.example./", "url_domain"),
    ("https://ok.example/one", "url_listed"), ("https://ok.example/one?x", None),
    ("https://ok.example/my-casino/x", "url_word"), ("https://ok.example/casinos", None),
    ("https://ok.example/free", None), ("https://ok.example/free-free", None),
    ("https://ok.example/free_bonus", "url_soft_words"),
    ("https://ok.example/p.o.k.e.r/STARS", "url_subword"), ("http://[broken", None)])
def test_addresses(url, reason):
    verdict = judge(url, LISTS)
    assert (verdict and verdict[0]) == reason


ENTRIES = ["foo", "two words", "c++", "né", "a-b"]


@pytest.mark.parametrize("text", [
    "foo", "a FOO.", "food", "xfoo", "foo_bar", "two words", "two  words", "two wordsy", "c++", "c++x",  # noqa: E501
    "xc++", "né", "nés", "a-b", "a-bc", "", "nothing here", "(foo)", "x\nfoo\ny", "foo foo"])
def test_words_are_found_where_the_pattern_of_c4_finds_them(text):
    pattern = re.compile(r"(?:\W|^)({})(?:\W|$)".format("|".join(map(re.escape, ENTRIES))))
    assert bool(find(text, compile_list(ENTRIES))[0]) == bool(pattern.search(text.lower()))


def test_occurrences_and_words_are_counted():
    assert find("Foo c++ foo, bar", compile_list(ENTRIES)) == ({"c++": 1, "foo": 2}, 4)


def test_anywhere_finds_words_inside_words():
    assert find("xfoox", compile_list(["foo"], anywhere=True))[0] == {"foo": 1}
