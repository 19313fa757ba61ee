"""Quality rules: each fires on its kind of rubbish, the first names it, prose and code pass."""

import base64
import inspect
import random
import textwrap

import pytest

from data_pipelines.steps import quality

CHINESE = ("东京是日本的首都，也是世界上最大的城市之一。这里有许多历史悠久的寺庙。\n"
           "每年都有很多游客从世界各地来到这里，参观博物馆和公园。\n"
           "春天的樱花和秋天的红叶非常美丽，吸引了无数摄影爱好者。")
RUBBISH = {
    "too_short": lambda prose: "Only a few words here.",
    "too_long": lambda prose: prose(1, 400_000),
    "short_words": lambda prose: "a b c d e f g h " * 10,
    "long_words": lambda prose: " ".join(f"{'word' * 8}{i}" for i in range(30)),
    "unbroken": lambda prose: prose(2, 60) + base64.b64encode(
        random.Random(0).randbytes(600)).decode(),
    "few_letters": lambda prose: "\n".join(f"+-*/ {{{i}}} == != >= <=; [] () ab"
                                           for i in range(20)),
    "mostly_digits": lambda prose: "\n".join(f"row value {i * 7919 % 100000} {i * 104729 % 1000}"
                                             for i in range(40)),
    "bullets": lambda prose: "".join(f"- {line}\n" for line in prose(3).splitlines()),
    "ellipses": lambda prose: "".join(f"{line}...\n" for line in prose(4).splitlines()),
    "duplicate_lines": lambda prose: prose(5) * 3,
    "repetitive": lambda prose: "\n".join(
        f"this line is the same but for its number {i // 2}" * 6 for i in range(300)),
}


@pytest.mark.parametrize("reason", RUBBISH)
def test_each_rule_names_its_rubbish(table, prose, reason):
    row = quality.make()(table([RUBBISH[reason](prose)])).to_pylist()[0]
    assert row["dropped"] == reason
    assert "<" in row["detail"] or ">" in row["detail"]


def test_ordinary_made_up_prose_passes(table, prose):
    assert quality.make()(table([prose(i) for i in range(20)]))["dropped"].null_count == 20


@pytest.mark.parametrize("text", [
    inspect.getsource(textwrap), inspect.getsource(random), CHINESE,
    "Ein kurzer Absatz auf Deutsch, der nur aus wenigen Sätzen besteht. "
    "Er ist trotzdem ein gewöhnlicher Text und soll behalten werden, wie jeder andere auch.",
    "def add(a, b):\n    '''Return the sum of a and b.'''\n    total = a + b\n    return total\n"
    "def subtract(a, b):\n    '''Return a less b.'''\n    return a - b\n"])
def test_prose_and_source_code_pass(table, text):
    row = quality.make()(table([text])).to_pylist()[0]
    assert (row["dropped"], row["detail"]) == (None, None)


def test_the_first_failing_rule_names_the_drop(table):
    worst = "1 2 3 4"               # too short, of short words, and mostly digits
    assert quality.make()(table([worst]))["dropped"].to_pylist() == ["too_short"]
    loose = quality.make(min_words=1)(table([worst]))
    assert loose["dropped"].to_pylist() == ["short_words"]
    looser = quality.make(min_words=1, min_word_length=0.5, min_letters=0.0)(table([worst]))
    assert looser["dropped"].to_pylist() == ["mostly_digits"]


def test_the_measured_value_and_the_bound_are_kept(table):
    detail = quality.make(min_words=7)(table(["five words are in here"]))["detail"].to_pylist()
    assert detail == ["5 < 7"]


def test_a_row_dropped_before_keeps_its_first_reason(table):
    from data_pipelines.table import drop
    judged = quality.make()(drop(table(["short"]), {0: ("not_text", "NUL at byte 0")}))
    assert judged["dropped"].to_pylist() == ["not_text"]
    assert judged["detail"].to_pylist() == ["NUL at byte 0"]


def test_kinds_of_characters_are_counted_by_character():
    kinds = quality.measure("aé中1 \n…🙂").kinds
    assert kinds[quality.LETTER] == 4 and kinds[quality.DIGIT] == 1
    assert kinds[quality.SPACE] == 2 and kinds[quality.OTHER] == 1
