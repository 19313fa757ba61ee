"""Words of documents as rows of a table of facts, so that no rule looks at a string twice.

Filters ask the same of every word: its length, whether it has a letter, which stop word it is. Web
text repeats its words, so each distinct white-space chunk is split and measured once and kept in a
dictionary; a document then costs one look-up a chunk (60 us for 2,300 characters, where spaCy
takes 5 ms). Tokenizers that never join across white space give the same words this way.

Reads a list of strings, returns NumPy arrays for the whole batch. What is returned depends on the
texts alone: the dictionary is a cache, and starts anew when it is full.
"""

import array
import functools
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.kernels.punctuation import PUNCTUATION
from data_pipelines.kernels.words import MULTIPLIER, mix

# white-space chunks -> the words of each
Split = Callable[[Sequence[str]], Sequence[Sequence[str]]]

SYMBOL_FREE, ALPHABETIC = 1, 2          # bits of Words.kinds
FULL = 1 << 20                          # distinct chunks kept: about 250 MB
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")   # Gopher's eight
STOP_BITS = {word: 1 << i for i, word in enumerate(STOP_WORDS)}


class Words(NamedTuple):
    """The words of documents, end to end.

    starts:  int64 [documents + 1], the first word of each document
    hashes:  uint64 [n], polynomials in `MULTIPLIER`: hash(ab) = hash(a) * power(b) + hash(b)
    powers:  uint64 [n]
    lengths: int64 [n], characters
    kinds:   uint8 [n], SYMBOL_FREE: some character is no punctuation; ALPHABETIC: some is a letter
    stops:   uint8 [n], a bit for each stop word, 0 for other words
    """

    starts: np.ndarray
    hashes: np.ndarray
    powers: np.ndarray
    lengths: np.ndarray
    kinds: np.ndarray
    stops: np.ndarray


class Numbers(dict):
    """Strings numbered in the order in which they were first asked for."""

    def __missing__(self, key: str) -> int:
        """Number a new string."""
        number = self[key] = len(self)
        return number

    def since(self, count: int) -> list[str]:
        """Return the strings numbered after the first `count`."""
        return list(itertools.islice(reversed(self), len(self) - count))[::-1]


class Lexicon:
    """A cache of chunks and their words; the owner keeps one for many batches."""

    def __init__(self, split: Split | None = None, fold: Callable[[str], str] = str,
                 full: int = FULL):
        """Start empty.

        Args:
            split: from chunks to words; None: a chunk is a word.
            fold: what is done to a word before it is compared with stop words.
            full: distinct chunks from which the cache starts anew before the next batch.
        """
        self._split, self._fold, self._full = split, fold, full
        self._clear()

    def _clear(self) -> None:
        self._chunks, self._words = Numbers(), Numbers()
        # Chunk c has the words self._members[self._first[c]:self._first[c + 1]].
        self._first, self._members = array.array("q", [0]), array.array("q")
        self._facts = array.array("Q")

    def read(self, texts: Sequence[str]) -> Words:
        """Return the words of each text."""
        if len(self._chunks) > self._full:
            self._clear()
        chunks = [text.split() for text in texts]
        starts = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(c) for c in chunks], out=starts[1:])
        known = len(self._chunks)
        numbers = np.fromiter(map(self._chunks.__getitem__, itertools.chain.from_iterable(chunks)),
                              np.int64, starts[-1])
        if len(self._chunks) > known:
            self._learn(self._chunks.since(known))
        if self._split is not None:
            numbers, starts = self._expand(numbers, starts)
        facts = np.frombuffer(self._facts, np.uint64).reshape(-1, 3)[numbers]
        packed = facts[:, 2]
        return Words(starts, np.ascontiguousarray(facts[:, 0]), np.ascontiguousarray(facts[:, 1]),
                     (packed >> np.uint64(16)).astype(np.int64),
                     (packed >> np.uint64(8)).astype(np.uint8), packed.astype(np.uint8))

    def _learn(self, chunks: list[str]) -> None:
        """Split and measure chunks that are new."""
        words = chunks
        if self._split is not None:
            known = len(self._words)
            for members in self._split(chunks):
                self._members.extend(map(self._words.__getitem__, members))
                self._first.append(len(self._members))
            words = self._words.since(known)
        self._facts.frombytes(measure(words, self._fold).tobytes())

    def _expand(self, chunks: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of words and where documents start among them, of those of chunks."""
        first = np.frombuffer(self._first, np.int64)
        counts = first[chunks + 1] - first[chunks]
        ends = np.zeros(len(chunks) + 1, np.int64)
        np.cumsum(counts, out=ends[1:])
        places = np.repeat(first[chunks] - ends[:-1], counts) + np.arange(ends[-1])
        return np.frombuffer(self._members, np.int64)[places], ends[starts]


def measure(words: Sequence[str], fold: Callable[[str], str] = str) -> np.ndarray:
    """Return uint64 [n, 3]: hash, power, and length << 16 | kind << 8 | stop word of each word."""
    facts = np.zeros((len(words), 3), np.uint64)
    if not len(words):
        return facts
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    # Lone surrogates come from broken JSON escapes; they are characters like others here.
    codes = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), np.uint32)
    starts = np.cumsum(lengths) - lengths
    behind = np.repeat(starts + lengths, lengths) - 1 - np.arange(len(codes))
    powers = np.ones(int(lengths.max()) + 1, np.uint64)
    powers[1:] = np.cumprod(np.full(len(powers) - 1, MULTIPLIER, np.uint64))
    values = mix((codes.astype(np.uint64) + np.uint64(1)) * np.uint64(MULTIPLIER))
    facts[:, 0] = np.add.reduceat(values * powers[behind], starts)
    facts[:, 1] = powers[lengths]
    kinds = np.bitwise_or.reduceat(character_kinds()[codes], starts)
    stops = np.fromiter((STOP_BITS.get(fold(w), 0) for w in words), np.uint64, len(words))
    facts[:, 2] = lengths.astype(np.uint64) << np.uint64(16) | kinds.astype(np.uint64) << np.uint64(
        8) | stops
    return facts


@functools.cache
def character_kinds() -> np.ndarray:
    """Return the bits of each code point, uint8 [1114112]: 0.2 s and 1 MB, once a process."""
    codes = map(chr, range(sys.maxunicode + 1))
    kinds = np.fromiter(map(str.isalpha, codes), np.uint8, sys.maxunicode + 1) * ALPHABETIC
    kinds |= SYMBOL_FREE
    kinds[[ord(c) for c in PUNCTUATION]] &= ~np.uint8(SYMBOL_FREE)
    return kinds


def select(words: Words, documents: np.ndarray) -> Words:
    """Return the words of some documents only.

    Args:
        words: of a batch.
        documents: bool [documents].
    """
    counts = np.diff(words.starts)
    inside = np.repeat(documents, counts)
    starts = np.concatenate([[0], np.cumsum(counts[documents])])
    return Words(starts, *(column[inside] for column in words[1:]))


def totals(words: Words, values: np.ndarray) -> np.ndarray:
    """Return the sum of a value of each word over every document, int64 [documents]."""
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums[words.starts[1:]] - sums[words.starts[:-1]]
