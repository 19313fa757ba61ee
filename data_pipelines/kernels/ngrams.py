"""Repeated n-grams of many documents at once, by hashes instead of strings.

A window's hash follows from that of the window one word shorter, so all n-grams of a batch cost two
multiplications a word for each n. Most windows occur once: a count of hash slots finds the others,
and only those are sorted. 5 us a document of 400 words for each n; a dictionary of joined strings
takes 100.

Reads lexicon.Words, returns NumPy arrays. Hashes are 64 bits wide: two different windows of a
million are taken for one with probability 3e-8.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines.kernels.lexicon import Words
from data_pipelines.kernels.words import MULTIPLIER, mix

ORDERED = np.uint64(0xD6E8FEB86659FD93)     # odd: hashes of sequences of words


class Windows(NamedTuple):
    """The windows of n words of a batch of documents.

    documents: int64 [words], the document of each word
    inside:    bool [words], whether a window begins there that ends in the same document
    sizes:     int64 [words], characters of the window that begins there, spaces not counted
    at:        int64 [m], the beginnings of windows that occur more than once in their document:
               equal ones together, each group in the order of the text
    groups:    int64 [g], where each group begins in `at`
    """

    documents: np.ndarray
    inside: np.ndarray
    sizes: np.ndarray
    at: np.ndarray
    groups: np.ndarray

    def counts(self) -> np.ndarray:
        """Return the number of windows of each group, int64 [g]."""
        return np.diff(self.groups, append=len(self.at))


def sequences(words: Words, longest: int) -> Iterator[Windows]:
    """Yield the windows of 2, 3, ... `longest` words; equal are those of the same words."""
    hashes = words.hashes.copy()
    documents, salt = label(words)
    for n in range(2, longest + 1):
        last = max(0, len(hashes) - n + 1)
        hashes[:last] *= ORDERED
        hashes[:last] += words.hashes[n - 1:][:last]
        yield windows(words, documents, hashes + salt, n)


def joined(words: Words, n: int) -> Windows:
    """Return the windows of n words; equal are those that spell the same without spaces."""
    hashes = words.hashes.copy()
    for k in range(2, n + 1):
        last = max(0, len(hashes) - k + 1)
        hashes[:last] *= words.powers[k - 1:][:last]
        hashes[:last] += words.hashes[k - 1:][:last]
    documents, salt = label(words)
    return windows(words, documents, hashes + salt, n)


def label(words: Words) -> tuple[np.ndarray, np.ndarray]:
    """Return each word's document, int64 [n], and a random number of that document, uint64 [n]."""
    counts = np.diff(words.starts)
    numbers = np.arange(len(counts))
    # Mixed twice: once gives the values of characters, whose differences are those of windows too.
    salt = mix(mix((numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(MULTIPLIER)) ^ ORDERED)
    return np.repeat(numbers, counts), np.repeat(salt, counts)


def windows(words: Words, documents: np.ndarray, keys: np.ndarray, n: int) -> Windows:
    """Return the windows of n words, of which equal ones of a document have equal keys."""
    last = max(0, len(keys) - n + 1)
    inside = np.zeros(len(keys), bool)
    inside[:last] = documents[:last] == documents[n - 1:][:last]
    ends = np.zeros(len(keys) + 1, np.int64)
    np.cumsum(words.lengths, out=ends[1:])
    sizes = np.zeros(len(keys), np.int64)
    sizes[:last] = ends[n:][:last] - ends[:last]
    begins = np.flatnonzero(inside)
    at, groups = repeated(keys[begins])
    return Windows(documents, inside, sizes, begins[at], groups)


def repeated(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the keys that occur more than once.

    Returns:
        int64 [m] their places, equal keys together and each in order; int64 [g] where groups begin.
    """
    bits = max(8, int(4 * len(keys)).bit_length())
    slots = ((keys * ORDERED) >> np.uint64(64 - bits)).astype(np.int64)
    shared = np.flatnonzero(np.bincount(slots, minlength=1 << bits)[slots] > 1)
    order = shared[np.argsort(keys[shared], kind="stable")]
    same = np.zeros(len(order) + 1, bool)
    same[1:-1] = keys[order[1:]] == keys[order[:-1]]
    several = same[:-1] | same[1:]
    return order[several], np.flatnonzero(~same[:-1][several])


def first_best(documents: np.ndarray, *ranks: np.ndarray) -> np.ndarray:
    """Return the place of each document's least, by the first rank, then by the next."""
    order = np.lexsort((*ranks[::-1], documents))
    ranked = documents[order]
    return order[np.flatnonzero(np.diff(ranked, prepend=-1))]


def covered(found: Windows, begins: np.ndarray, n: int) -> np.ndarray:
    """Return whether each word is in a window that begins at one of `begins`, bool [words]."""
    steps = np.zeros(len(found.documents) + 1, np.int64)
    np.add.at(steps, begins, 1)
    np.add.at(steps, begins + n, -1)
    return np.cumsum(steps[:-1]) > 0
