"""Text comes out whole: characters, stop strings, and the same joined as at once."""

import itertools

import pytest

from ssljax.serve.jobs import Job, Sampling, Scored
from ssljax.serve.text import first_stop, held_back, make_feed, opening
from ssljax.tokenizers import byte

TOKENIZER = byte.make()


def job(max_tokens=100, **more):
    return Job((256,), "", max_tokens, Sampling(), **more)


def feed_all(text, asked, *, end=False):
    """Return the pieces of a model that says `text`, byte by byte, and then ends or goes on."""
    feed, pieces = make_feed(asked, TOKENIZER), []
    for token in [*text.encode(), *([256] if end else [])]:
        pieces.append(feed(Scored(token, -1.0, ())))
        if pieces[-1].finish:
            break
    return pieces


def test_characters_come_out_whole():
    pieces = feed_all("né\N{GRINNING FACE}!", job(), end=True)
    assert [piece.text for piece in pieces] == ["n", "", "é", "", "", "", "\N{GRINNING FACE}", "!",
                                                ""]
    assert pieces[-1].finish == "stop" and pieces[-1].tokens == 9
    assert [piece.token for piece in pieces] == [*"né\N{GRINNING FACE}!".encode(), 256]


def test_character_cut_by_the_end_is_replaced():
    pieces = feed_all("né", job(max_tokens=2))
    assert "".join(piece.text for piece in pieces) == "n\N{REPLACEMENT CHARACTER}"
    assert pieces[-1].finish == "length"


@pytest.mark.parametrize("stop, expected", [
    (("lo",), "hel"), (("o w", "ell"), "h"), (("xyz",), "hello world"), (("d",), "hello worl"),
    (("hello world!",), "hello world"), (("world", "wor"), "hello "), (("h",), "")])
def test_stop_strings_end_the_text_before_them_and_never_leak(stop, expected):
    pieces = feed_all("hello world", job(stop=stop), end=True)
    assert "".join(piece.text for piece in pieces) == expected
    assert pieces[-1].finish == "stop"
    for so_far in itertools.accumulate(piece.text for piece in pieces):
        assert expected.startswith(so_far)


def test_what_may_begin_a_stop_string_waits_until_it_cannot():
    pieces = feed_all("aab", job(stop=("aac",)), end=True)
    assert [piece.text for piece in pieces] == ["", "", "aab", ""]
    assert held_back("xaa", ("aac",)) == 2 and held_back("xab", ("aac",)) == 0
    assert first_stop("abcabc", 1, ("abc", "cab")) == 2


def test_scored_tokens_come_with_their_text_and_not_after_a_stop():
    pieces = feed_all("abcd", job(stop=("cd",), logprobs=0))
    scored = [(at, item.token) for piece in pieces for at, item in piece.scored]
    assert scored == [(0, ord("a")), (1, ord("b"))]
    natural = feed_all("ab", job(logprobs=0), end=True)
    assert [at for piece in natural for at, _ in piece.scored] == [0, 1]
    assert not any(piece.scored for piece in feed_all("ab", job()))


def test_echo_counts_the_prompt_in_offsets_and_does_not_stop_in_it():
    asked = Job((256, 97, 98), "ab", 9, Sampling(), ("b",), 0, True)
    first = opening(asked, TOKENIZER, [Scored(97, -1.0, ()), Scored(98, -2.0, ())])
    assert first.text == "ab" and [at for at, _ in first.scored] == [0, 1]
    feed = make_feed(asked, TOKENIZER)
    piece = feed(Scored(99, -1.0, ()))
    assert (piece.text, piece.scored[0][0]) == ("c", 2)
    assert feed(Scored(98, -1.0, ())).finish == "stop"
