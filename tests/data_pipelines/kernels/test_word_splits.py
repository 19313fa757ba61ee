"""spaCy's and Unicode's words, chunk by chunk, against the libraries on whole texts."""

import pytest

from data_pipelines.kernels.sentences import SentenceCounter
from data_pipelines.kernels.word_splits import (
    END,
    INNER,
    MARK,
    Piece,
    cut,
    load_spacy,
    plain_piece,
    spacy_pieces,
    spacy_words,
    unicode_words,
)

LINES = """
word word, Word. WORD. aB. J. Mr. Mr., (word) "word" (i.e. e.g. don't don't. it's 1999.
12, 3.5 10km 10km. a.m. a.m.) :-) :) (-: word:) http://a.b/c?d=e. x@y.org -- --word 5-6
well-known and/or U.S. U.S.A., C++ #tag $5 5$ €3 naïve naïve. Straße? Привет. مرحبا 日本語。 …
... word... 'tis ’s it’s gonna cannot Im ºC °C. 3°C. ² x² [1] [edit] "[word]" ((x)) word);
IS_ALPHA LEMMA 8D 8) \u00ad O_o O.o (O_o) %5 5% a=b a,b a.B word.Word 1,2 1+1 ½ Nov. Nov.?
co. co.:
"""
CHUNKS = LINES.split()


@pytest.fixture(scope="module")
def spacy():
    pytest.importorskip("spacy", reason="the extra [spacy] is not installed")
    return load_spacy()


def test_chunks_split_as_spacy_splits_them_alone(spacy):
    language, ends = spacy
    expected = [cut(language.tokenizer(c), ends)[0] for c in CHUNKS]
    assert spacy_words(CHUNKS) == [piece.words for piece in expected]
    plain = [plain_piece(c, language.tokenizer.rules, ends) for c in CHUNKS]
    assert sum(p is not None for p in plain) > 15
    assert all(p is None or p == e for p, e in zip(plain, expected, strict=True))


@pytest.mark.parametrize("chunks", [CHUNKS, [
    "supercalifragilistic" + end for end in (
        "", ".", "...", "." * 9, "'s", "’s.", "……", "5mbar", "5mbar.", "12US$", "°C.", "²)",
        ")).", "5км/ч", "😀", "--", "=b", "_", "/", ":x", "—", "~y", "b,c", "b.C", "1+2", "®",
        "%.", "5%")]])
def test_the_quicker_rules_split_as_spacys_own(spacy, chunks):
    _, ends = spacy
    own = pytest.importorskip("spacy").blank("en").tokenizer
    tokens = [list(own(chunk)) for chunk in chunks]
    expected = [Piece(tuple(t.text for t in some), tuple(
        END if t.text in ends else MARK if t.is_punct else INNER for t in some)) for some in tokens]
    assert spacy_pieces(chunks) == expected


@pytest.mark.parametrize("line", [
    "One. Two! Three?", "No end", "Wait... what?! Yes.", "One.  Two.", "He said (yes.) Then left.",
    "Ends with space.  ", "A.B. c. D", "。 日本。語", "\"Quoted.\" Next", ". . .", "Tab.\t", ""])
def test_sentences_are_those_of_spacys_sentencizer(spacy, line):
    language, _ = spacy
    whole = language.from_config(language.config)
    whole.add_pipe("sentencizer")
    assert SentenceCounter()(line) == max(1, len(list(whole(line).sents)))


def test_unicode_words_are_those_of_the_library_without_marks():
    words = pytest.importorskip("uniseg.wordbreak", reason="uniseg is not installed").words
    expected = [[w for w in words(chunk) if w[0].isalnum()] for chunk in CHUNKS]
    assert unicode_words(CHUNKS) == expected
