"""How web filters split white-space chunks into words: as spaCy does, or as Unicode says.

`spacy` is datatrove's tokenizer (English rules without a model, https://spacy.io/api/tokenizer);
`unicode` is the word boundaries of Unicode annex 29 (https://www.unicode.org/reports/tr29/) with
punctuation left out, as DCLM counts (Li et al. 2024, https://arxiv.org/abs/2406.11794). Both
libraries are exact and slow, 25 to 50 us a chunk. So chunks that are letters or digits with at most
one mark on each side are split here, by the same rules; data_pipelines/kernels/lexicon.py asks once
for each chunk.

One thing is lost on the way: an emoticon written with a space inside, such as ": )", which spaCy
finds across chunks. It changed one verdict of 26,061 documents.
"""

import functools
import re
import string
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from ssljax.core.errors import needed

INNER, END, MARK = range(3)     # roles: ends a sentence for spaCy's Sentencizer; other punctuation
# One bracket or quote, letters or ASCII digits, one mark. spaCy splits nothing else off there,
# unless it has the chunk, or what is left of it on the way, among its special cases.
PLAIN = re.compile(r'([("\[]?)([^\W\d_]+|[0-9]+)([.,;:!?)"\]]?)')
# It splits a full stop off after a small letter, a digit or two capitals ("J." stays whole).
STOPPED = re.compile(r".*(?:[a-z0-9]|[A-Z]{2})", re.DOTALL)
TAIL = 8                        # characters at the end of a chunk where suffixes are
ASCII_MARKS = string.punctuation.replace("_", "")

Search = Callable[[str], re.Match[str] | None]


class Piece(NamedTuple):
    """A chunk as spaCy splits it: its words, and INNER, END or MARK of each."""

    words: tuple[str, ...]
    roles: tuple[int, ...]


@functools.cache
def load_spacy() -> tuple[Any, frozenset[str]]:
    """Return spaCy's English tokenizer and the words that end a sentence for its Sentencizer.

    Raises:
        MissingExtraError: spaCy is not installed.
    """
    with needed("spacy", "spacy"):
        import spacy
        from spacy.attrs import IS_PUNCT
        from spacy.pipeline import Sentencizer
    language = spacy.blank("en")
    # Of a word's attributes only this one is asked for: shape, prefix and twenty others, which no
    # rule of the tokenizer reads, are a third of the time that a new word takes.
    getters = language.vocab.lex_attr_getters
    language.vocab.lex_attr_getters = {IS_PUNCT: getters[IS_PUNCT]}
    rules = language.tokenizer
    rules.suffix_search = near_the_end(rules.suffix_search)
    # What separates words inside a chunk is no letter, digit or underscore of ASCII: this says so
    # first, and most characters are asked one question instead of thirty.
    infixes = rules.infix_finditer.__self__
    rules.infix_finditer = re.compile(f"(?=[^A-Za-z0-9_])(?:{infixes.pattern})",
                                      infixes.flags).finditer
    return language, frozenset(Sentencizer.default_punct_chars)


def near_the_end(search: Search) -> Search:
    """Return spaCy's search for a suffix, which tries every character, over the last few only.

    The longest suffix but a row of dots has five characters and looks at two before it.
    """
    def some(text: str) -> re.Match[str] | None:
        if len(text) <= TAIL:
            return search(text)
        found = search(text[-TAIL:])
        return found if found is None or found.start() >= TAIL - 5 else search(text)

    return some


def spacy_pieces(chunks: Sequence[str]) -> list[Piece]:
    """Return what spaCy makes of each chunk."""
    language, ends = load_spacy()
    special = language.tokenizer.rules
    found = [plain_piece(chunk, special, ends) for chunk in chunks]
    rest = [i for i, piece in enumerate(found) if piece is None]
    # A thousand at a time, on lines of their own: a call costs 30 us.
    for at in range(0, len(rest), 1000):
        some = rest[at:at + 1000]
        for i, piece in zip(some, ask([chunks[i] for i in some], language, ends), strict=True):
            found[i] = piece
    return found


def plain_piece(chunk: str, special: Mapping[str, Any], ends: frozenset[str]) -> Piece | None:
    """Return the piece of a chunk that is letters or digits with marks; None for any other."""
    match = PLAIN.fullmatch(chunk)
    if not match:
        return None
    before, core, after = match.groups()
    if not (core.isalpha() or core.isascii()) or after == "." and not STOPPED.fullmatch(core):
        return None
    if not special.keys().isdisjoint((chunk, core, before + core, core + after)):
        return None
    words = tuple(filter(None, (before, core, after)))
    return Piece(words, tuple(INNER if w == core else END if w in ends else MARK for w in words))


def ask(chunks: Sequence[str], language: Any, ends: frozenset[str]) -> list[Piece]:
    """Return spaCy's pieces of chunks."""
    with language.memory_zone():
        return cut(language.tokenizer("\n".join(chunks)), ends)


def cut(document: Any, ends: frozenset[str]) -> list[Piece]:
    """Return the pieces between the newlines of a document of spaCy's."""
    # Whole columns: an object a token takes twice the time.
    strings = document.vocab.strings
    words = [strings[key] for key in document.to_array("ORTH").tolist()]
    roles = [END if word in ends else MARK if mark else INNER for word, mark in
             zip(words, document.to_array("IS_PUNCT").tolist(), strict=True)]
    breaks = [i for i, word in enumerate(words) if word == "\n"]
    return [Piece(tuple(words[a:b]), tuple(roles[a:b]))
            for a, b in zip([0, *(i + 1 for i in breaks)], [*breaks, len(words)], strict=True)]


def spacy_words(chunks: Sequence[str]) -> list[tuple[str, ...]]:
    """Return spaCy's words of each chunk."""
    return [piece.words for piece in spacy_pieces(chunks)]


@functools.cache
def load_uniseg() -> ModuleType:
    """Return the module of Unicode's word boundaries.

    Raises:
        MissingExtraError: uniseg is not installed.
    """
    with needed("uniseg", "curate"):
        import uniseg.wordbreak
    return uniseg.wordbreak


def unicode_words(chunks: Sequence[str]) -> list[list[str]]:
    """Return the words of each chunk that start with a letter or a digit."""
    words = load_uniseg().words
    found = []
    for chunk in chunks:
        core = chunk.strip(ASCII_MARKS)
        # Below U+0500, Latin to Cyrillic, letters never part; marks outside never join.
        if core.isascii() and core.isalnum() or core.isalpha() and max(core) < "\u0500":
            found.append([core])
        else:
            found.append([word for word in words(chunk) if word[0].isalnum()])
    return found
