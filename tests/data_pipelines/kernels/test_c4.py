"""C4's, FineWeb's and DCLM's rules of lines, planted."""

import pytest

from data_pipelines.kernels import c4, dclm_lines, fineweb
from data_pipelines.kernels.c4 import DATATROVE, TFDS, clean, count_marks

GOOD = "This is a fine sentence. And this is another one."


def words(text):
    return len(text.split())


@pytest.mark.parametrize(("line", "left"), [
    (GOOD, GOOD),
    ("  A line in spaces ends here.  ", "A line in spaces ends here."),
    ("A heading without an end mark", None),
    ("It trails off like this ...", None),
    ("Too short.", None),
    ("Please turn on JavaScript in your browser now.", None),
    ("We have a cookie policy on this site.", None),
    ("It was built in 1901.[3] [edit]", None),          # a space is left, no end mark
    ("It was built in 1901[3].", "It was built in 1901."),
    ("One " + "x" * 1001 + " word is too long.", None)])
def test_lines(line, left):
    page = "\n".join([GOOD] * 3)
    text = clean(f"{page}\n{line}", DATATROVE, count_marks).text
    assert text == (page if left is None else f"{page}\n{left}")


@pytest.mark.parametrize(("line", "reason"), [
    ("Lorem Ipsum dolor sit amet is filler.", "lorem_ipsum"),
    ("A line with a { is code to it.", "curly_bracket"),
    ("short {", None),                                    # its line goes before it is read
    ("javascript: if (x) { y. }.", None)])
def test_pages(line, reason):
    verdict = clean("\n".join([GOOD] * 3 + [line]), DATATROVE, count_marks).verdict
    assert (verdict and verdict[0]) == reason


def test_a_dropped_page_keeps_its_text():
    text = f"{GOOD}\nheading"
    assert clean(text, DATATROVE, count_marks) == (text, ("too_few_sentences", "2 < 5"))


def test_constants_differ():
    line = "Only four words here."
    assert clean("\n".join([line] * 5), DATATROVE, count_marks).verdict is None
    assert clean("\n".join([line] * 5), TFDS, count_marks).verdict[0] == "too_few_sentences"
    quoted = "He said it was 'fine and very good'"
    assert clean("\n".join([quoted] * 5), DATATROVE, count_marks).verdict is None
    assert clean("\n".join([quoted] * 5), TFDS, count_marks).verdict[0] == "too_few_sentences"
    cited = "Four words [1] [2] here [3] now."
    assert clean("\n".join([cited] * 5), TFDS, count_marks).verdict[0] == "too_few_sentences"
    assert clean("\n".join([cited] * 5), TFDS._replace(after=False), count_marks).verdict is None


def test_a_phrase_that_a_citation_parted_is_found():
    line = "This is lorem[1] ipsum for you."
    assert clean("\n".join([GOOD] * 5 + [line]), DATATROVE, count_marks).verdict[0] == "lorem_ipsum"


def test_sentences_are_counted_by_runs_of_marks():
    assert [count_marks(t) for t in ("No mark", "One. Two?! \"Three.\" x", "3.5 is one.")] == [1, 3,
                                                                                              1]


@pytest.mark.parametrize(("text", "reason"), [
    ("A line that ends as prose does, and is long enough.\n" * 1, None),
    (" \n\n", "empty"),
    ("\n".join(f"line {i} without any end mark, which goes on" for i in range(9)),
     "line_punct_ratio"),
    ("\n".join(f"{i}." for i in range(9)), "short_line_ratio"),
    ("The very same line of more than thirty characters.\n" * 2, "char_dup_ratio"),
    ("\n\n\n".join(f"Line {i} antidisestablishmentarianism." for i in range(9)), "list_ratio")])
def test_fineweb(text, reason):
    verdict = fineweb.judge(text, words)
    assert (verdict and verdict[0]) == reason


@pytest.mark.parametrize(("line", "left"), [
    ("A HEADING IN CAPITALS", None), ("12 345", "12 345"), ("12345", None), ("1.2K likes", None),
    ("3,400 Comments!", None), ("word", None), ("3 likes and a comment from us",) * 2,
    ("You have 2 items in cart", "You have 2"), ("Sign-in to comment", "to comment"),
    ("This goes on read more...", "This goes on"), ("Items in cart", None),
    ("a line of more than ten words that says read more...",) * 2])
def test_dclm(line, left):
    page = "\n".join(f"A line of prose that is number {i} of them all." for i in range(30))
    cleaned = dclm_lines.clean(f"{page}\n{line}", words)
    assert cleaned == (page if left is None else f"{page}\n{left}", None)


def test_dclm_drops_pages_of_which_too_much_would_go():
    text = "A line of prose that stays.\nHOME PAGE\nABOUT US"
    assert dclm_lines.clean(text, words) == (text, ("words_removed", "0.4 > 0.05"))
    assert dclm_lines.clean("HOME PAGE", words).verdict[0] == "empty"
    assert c4.Cleaned("a fine line", None) == dclm_lines.clean("a fine line", words)
