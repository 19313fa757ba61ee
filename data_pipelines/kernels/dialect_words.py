"""The words of each dialect of web filters, found once for all steps of a process.

datatrove: spaCy's; dclm: Unicode's for lengths and n-grams, white space for the rest; dolma: white
space; fast: white space, from bytes. Reads a list of strings, returns lexicon.Words.
"""

import functools
from collections.abc import Callable, Sequence

from data_pipelines.kernels import byte_words
from data_pipelines.kernels.lexicon import Lexicon, Words
from data_pipelines.kernels.sentences import SentenceCounter
from data_pipelines.kernels.word_splits import load_spacy, load_uniseg, spacy_words, unicode_words

Read = Callable[[Sequence[str]], Words]
DIALECTS = ("datatrove", "dclm", "dolma", "fast")


@functools.cache
def lexicon(kind: str) -> Lexicon:
    """Return the process's cache of "spacy", "unicode" or "space" words: steps share it.

    Raises:
        MissingExtraError: the library of these words is not installed.
    """
    if kind == "spacy":
        load_spacy()
        return Lexicon(spacy_words)
    if kind == "unicode":
        load_uniseg()
        return Lexicon(unicode_words)
    return Lexicon()


@functools.cache
def spacy_sentences() -> SentenceCounter:
    """Return the process's counter of sentences as spaCy's Sentencizer has them.

    Raises:
        MissingExtraError: spaCy is not installed.
    """
    load_spacy()
    return SentenceCounter()


def gram_words(dialect: str) -> Read:
    """Return what finds the words whose n-grams and number a dialect judges."""
    if dialect == "fast":
        return byte_words.read
    return lexicon({"datatrove": "spacy", "dclm": "unicode"}.get(dialect, "space")).read


def rule_words(dialect: str) -> Read | None:
    """Return what finds the words that a dialect's rules of quality measure; None: the same."""
    # Stop words count without case in DCLM.
    return folded().read if dialect == "dclm" else None


@functools.cache
def folded() -> Lexicon:
    """Return the process's cache of white-space words whose stop words have any case."""
    return Lexicon(fold=str.lower)


def count_words(dialect: str) -> Callable[[str], int]:
    """Return the function from a text to the number of its words."""
    if dialect in ("fast", "dolma"):
        return lambda text: len(text.split())
    read = gram_words(dialect)
    return lambda text: int(read([text]).starts[-1])
