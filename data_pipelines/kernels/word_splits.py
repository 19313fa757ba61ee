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
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from ssljax.core.errors import MissingExtraError

INNER, END, MARK = range(3)     # roles: ends a sentence for spaCy's Sentencizer; other punctuation
# One bracket or quote, letters or ASCII digits, one mark. spaCy splits nothing else off there,
# unless it has the chunk, or what is left of it on the way, among its special cases.
PLAIN = re.compile(r'([("\[]?)([^\W\d_]+|[0-9]+)([.,;:!?)"\]]?)')
# It splits a full stop off after a small letter, a digit or two capitals ("J." stays whole).
STOPPED = re.compile(r".*(?:[a-z0-9]|[A-Z]{2})", re.DOTALL)
ASCII_MARKS = string.punctuation.replace("_", "")


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
    try:
        import spacy
        from spacy.pipeline import Sentencizer
    except ImportError as err:
        raise MissingExtraError("spacy", "spacy") from err
    return spacy.blank("en"), frozenset(Sentencizer.default_punct_chars)


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
    pieces: list[tuple[list[str], list[int]]] = [([], [])]
    for token in document:
        text = token.text
        if text == "\n":
            pieces.append(([], []))
            continue
        pieces[-1][0].append(text)
        pieces[-1][1].append(END if text in ends else MARK if token.is_punct else INNER)
    return [Piece(tuple(words), tuple(roles)) for words, roles in pieces]


def spacy_words(chunks: Sequence[str]) -> list[tuple[str, ...]]:
    """Return spaCy's words of each chunk."""
    return [piece.words for piece in spacy_pieces(chunks)]


@functools.cache
def load_uniseg() -> ModuleType:
    """Return the module of Unicode's word boundaries.

    Raises:
        MissingExtraError: uniseg is not installed.
    """
    try:
        import uniseg.wordbreak
    except ImportError as err:
        raise MissingExtraError("uniseg", "curate") from err
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
