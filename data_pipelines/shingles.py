"""Documents as sets of hashed word 5-grams, and their MinHash signatures.

Broder 1997, "On the resemblance and containment of documents",
https://doi.org/10.1109/SEQUEN.1997.666900. Reads texts, returns numpy arrays; the same on every
machine. Memory: 8 bytes for each distinct shingle of the corpus, about 1.3 times its text.
"""

import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ssljax.core.rng import hash64

# Runs of letters, digits and underscores; every character above U+3000 is a word, since Chinese
# and Japanese have no spaces; U+2000 to U+2FFF are punctuation and symbols.
WORD = re.compile(rb"(?:[a-z0-9_]+|[\xc3-\xe1][\x80-\xbf]+)+|[\xe3-\xf4][\x80-\xbf]+")
GAP = re.compile(rb"[\n ]")
PIECE = 1 << 20                # bytes of text split into words at a time: a word takes 60 as object
ROWS = 2048                    # shingles hashed at a time: 2048 * 128 * 4 bytes stay in cache


class Shingles(NamedTuple):
    """The distinct shingles of documents, end to end.

    hashes: uint64 [total], sorted within each document
    starts: int64 [documents + 1]
    """

    hashes: np.ndarray
    starts: np.ndarray

    def of(self, document: int) -> np.ndarray:
        """Return the shingles of one document, uint64 [n], sorted and distinct."""
        return self.hashes[self.starts[document]:self.starts[document + 1]]

    def counts(self) -> np.ndarray:
        """Return the number of distinct shingles of each document, int64 [documents]."""
        return np.diff(self.starts)


def shingle(texts: Sequence[str], words: int) -> Shingles:
    """Return the distinct runs of `words` words of each text, case and punctuation aside."""
    sets = [shingle_one(t, words) for t in texts]
    starts = np.cumsum([0, *map(len, sets)], dtype=np.int64)
    return Shingles(np.concatenate([np.empty(0, np.uint64), *sets]), starts)


def shingle_one(text: str, words: int) -> np.ndarray:
    """Return the sorted distinct shingles of a text, uint64 [n]; a shorter text is one shingle."""
    hashes = np.concatenate([np.empty(0, np.uint64), *word_hashes(text)])
    length = min(words, len(hashes))
    if not length:
        return hashes
    runs = np.zeros(len(hashes) - length + 1, np.uint64)
    for i in range(length):       # a polynomial in the word hashes, modulo 2^64
        runs = runs * np.uint64(0x9E3779B97F4A7C15) + hashes[i:i + len(runs)]
    return np.unique(mix(runs))


def word_hashes(text: str) -> Iterator[np.ndarray]:
    """Yield the hashes of the words of a text, uint64 [n], a piece of text at a time."""
    data = text.lower().encode()
    start = 0
    while start < len(data):
        gap = GAP.search(data, start + PIECE)
        end = gap.start() if gap else len(data)
        found = WORD.findall(data, start, end)
        yield mix(np.fromiter(map(zlib.crc32, found), np.uint64, len(found)))
        start = end


def mix(x: np.ndarray) -> np.ndarray:
    """Scramble uint64: every bit of the input moves every bit of the output (splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def signatures(shingles: Shingles, permutations: int) -> np.ndarray:
    """Return the MinHash signatures, uint32 [documents, permutations].

    Two signatures agree in a column with a probability near the documents' Jaccard similarity.
    Columns are minima of a * h + b modulo 2^32 with odd a: one multiplication, no 64-bit modulus.
    Without shingles the column is the largest number.
    """
    draws = np.array([hash64("minhash", i) for i in range(permutations)], np.uint64)
    a, b = draws.view(np.uint32).reshape(-1, 2).T | np.array([[1], [0]], np.uint32)
    folded = (shingles.hashes >> np.uint64(32)).astype(np.uint32)[:, None]
    result = np.full((len(shingles.starts) - 1, permutations), 2**32 - 1, np.uint32)
    for document, (start, end) in enumerate(itertools.pairwise(shingles.starts)):
        for first in range(start, end, ROWS):
            block = folded[first:min(end, first + ROWS)] * a + b
            np.minimum(result[document], block.min(axis=0), out=result[document])
    return result
