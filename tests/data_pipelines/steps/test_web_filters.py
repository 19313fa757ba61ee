"""The steps of web filters on tables: what they drop, what they change, what they refuse."""

import gzip
import itertools
import json
import pathlib

import pytest

from data_pipelines.steps import bad_words, c4, dclm_lines, fineweb, gopher, url_lists
from data_pipelines.table import add_column, column, drop
from ssljax.core.errors import ConfigError

WEB = pathlib.Path(__file__).parents[4] / "shared" / "data" / "web" / "web_docs.jsonl.gz"
GOOD = """The people of this town have gone to the market with their baskets and dogs.
After three hours they came home, which was the end of a day that pleased everyone.
Nobody remembers who built the old stone bridge, but engineers visit it each spring.
Rain had fallen through most of June, so the river ran high and brown beneath it.
My grandmother would often say that bread should be eaten warm or not at all.
Later that evening two boats left for the islands, carrying letters, salt and lamps.
"""


def reasons(table):
    return column(table, "dropped")


def test_gopher_judges_repetition_before_quality(table):
    texts = [GOOD, "same line\n" * 40, "too short", ""]
    assert reasons(gopher.make(dialect="fast", rules=("quality",))(table(texts))) == [
        None, "gopher_enough_stop_words",
        "gopher_short_doc", "gopher_short_doc"]
    both = gopher.make(dialect="fast")(table(texts))
    assert reasons(both)[:2] == [None, "dup_line_frac"]
    # One pair of words is all of the text: the most frequent, if only once.
    assert reasons(both)[2:] == ["top_2_gram", "empty"]
    assert column(both, "detail")[1] == "0.9512 > 0.3"


@pytest.mark.parametrize("dialect", ["fast", "dolma", "dclm", "datatrove"])
def test_rows_are_judged_alike_in_any_company(table, dialect):
    if dialect in ("datatrove", "dclm"):
        pytest.importorskip("spacy" if dialect == "datatrove" else "uniseg")
    step = gopher.make(dialect=dialect)
    texts = [GOOD, "x " * 400, GOOD.upper(), "", "a\n\nb\n\na\n\na", GOOD * 4] * 50
    together = reasons(step(table(texts)))
    assert together == [reasons(step(table([t])))[0] for t in texts[:6]] * 50
    assert together[0] is None
    assert None not in (together[1], *together[3:6])     # DCLM's stop words have no case


def test_rows_dropped_before_keep_their_reason_and_text(table):
    before = drop(table(["short", "{ } "]), {0: ("earlier", ""), 1: ("earlier", "")})
    for step in (gopher.make(dialect="fast"), c4.make(sentences="marks"),
                 fineweb.make(dialect="fast")):
        after = step(before)
        assert reasons(after) == ["earlier"] * 2 and column(after, "text") == ["short", "{ } "]


def test_c4_cuts_lines_and_keeps_the_text_of_what_it_drops(table):
    step = c4.make(constants="tfds", sentences="marks")
    after = step(table([GOOD + "A heading\n", "A heading", GOOD + "One more line with { inside."]))
    assert column(after, "text")[:2] == [GOOD.strip(), "A heading"]
    assert reasons(after) == [None, "too_few_sentences", "curly_bracket"]
    lenient = c4.make(terminal_punctuation=False, sentences="marks", min_words=0, min_sentences=0)
    assert column(lenient(table(["A heading"])), "text") == ["A heading"]


def test_fineweb_and_dclm(table):
    assert reasons(fineweb.make(dialect="fast")(table([GOOD, "no mark here at all\n" * 5]))) == [
        None, "line_punct_ratio"]
    pytest.importorskip("uniseg", reason="uniseg is not installed")
    after = dclm_lines.make()(table([GOOD + "HOME\n", "HOME"]))
    assert column(after, "text") == [GOOD.strip(), "HOME"] and reasons(after) == [None, "empty"]


def test_url_lists_read_files_and_skip_comments(table, tmp_path):
    (tmp_path / "domains").write_text("# a comment\n\nbad.example\n")
    (tmp_path / "soft").write_text("free\nbonus\n***\n")
    step = url_lists.make(domains=str(tmp_path / "domains"), soft_words=str(tmp_path / "soft"))
    urls = ["https://a.bad.example/", None, "https://ok.example/free-bonus/", "https://ok.example/"]
    rows = add_column(table(list("abcd")), "url", [urls])
    assert reasons(step(rows)) == ["url_domain", None, "url_soft_words", None]
    with pytest.raises(ConfigError, match='no column "url"'):
        step(table(["a"]).drop_columns(["url"]))


def test_bad_words_drop_by_number_or_share(table, tmp_path):
    (tmp_path / "list").write_text("darn\nsm\n")
    texts = ["darn it", "fine sm", "darn " + "word " * 200]
    strict = bad_words.make(path=str(tmp_path / "list"))(table(texts))
    assert reasons(strict) == ["bad_words", None, "bad_words"]
    assert column(strict, "detail")[0] == "1 of 2: darn"
    share = bad_words.make(path=str(tmp_path / "list"), max_share=0.01, reason="toxic_words")
    assert reasons(share(table(texts))) == ["toxic_words", None, None]


@pytest.mark.parametrize(("make", "arguments", "message"), [
    (gopher.make, {"dialect": "datatrov"}, 'did you mean "datatrove"'),
    (gopher.make, {"rules": ()}, "expected some of"),
    (c4.make, {"constants": "t5"}, "known: datatrove, tfds"),
    (c4.make, {"sentences": "nltk"}, "known: marks, spacy"),
    (fineweb.make, {"dialect": "x"}, "known"),
    (url_lists.make, {}, "at least one"),
    (url_lists.make, {"words": "/no/such/file"}, "cannot be read"),
    (bad_words.make, {"path": "/no/such/file"}, "cannot be read")])
def test_what_cannot_be_is_refused_at_once(make, arguments, message):
    with pytest.raises(ConfigError, match=message):
        make(**arguments)


@pytest.mark.skipif(not WEB.exists(), reason="../shared/data/web is not here")
def test_the_fast_filters_keep_a_sound_share_of_real_pages(table):
    with gzip.open(WEB, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in itertools.islice(file, 0, 6000, 20)]
    after = table(texts)
    for step in (gopher.make(dialect="fast"),
                 c4.make(terminal_punctuation=False, sentences="marks"),
                 fineweb.make(dialect="fast")):
        after = step(after)
    dropped = reasons(after)
    assert len(dropped) == 300 and 0.1 < dropped.count(None) / 300 < 0.6
    assert {r for r in dropped if r} >= {"gopher_too_many_hashes", "duplicated_5_n_grams"}
