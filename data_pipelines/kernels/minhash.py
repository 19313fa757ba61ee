"""Documents as sets of hashed runs of words (shingles), and MinHash signatures of these sets.

Broder 1997, "On the resemblance and containment of documents",
https://doi.org/10.1109/SEQUEN.1997.666900. Signatures by one permutation: the range of hashes is
cut into as many bins as the signature has columns, each column is the least shingle of its bin
(Li, Owen and Zhang 2012, https://arxiv.org/abs/1208.1259), and an empty bin takes the column of
another, chosen by the bins alone (Shrivastava 2017, https://arxiv.org/abs/1703.04664). Since
shingles are kept sorted, the least of each bin is where the bin begins: a signature costs 4 us a
document, where 128 separate hash functions cost 60.

Reads an Arrow array of strings, returns NumPy arrays; the same on every machine. Memory: 8 bytes
for each distinct shingle of the batch, about 1.3 times its text.
"""

import functools
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from data_pipelines.kernels.words import Words, find_words, mix

RATIO = np.uint64(0xD1B54A32D192ED03)    # odd; of the polynomial that joins the words of a run
PIECE = 1 << 15                          # words joined at a time: they stay in the cache
EMPTY = np.uint32(2**32 - 1)             # every column of a document without shingles


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

    def take(self, documents: np.ndarray) -> "Shingles":
        """Return the shingles of some documents, in the order asked for."""
        counts = self.counts()[documents]
        starts = np.append(0, np.cumsum(counts))
        return Shingles(self.hashes[ranges(self.starts[documents], counts)], starts)


def shingle(texts: pa.Array, words: int) -> Shingles:
    """Return the distinct runs of `words` words of each text, case and punctuation aside."""
    runs = run_hashes(find_words(texts), words)
    hashes = runs.hashes
    for start, stop in zip(runs.starts[:-1].tolist(), runs.starts[1:].tolist(), strict=True):
        hashes[start:stop].sort()
    new = np.ones(len(hashes), bool)
    new[1:] = hashes[1:] != hashes[:-1]
    new[runs.starts[:-1][np.diff(runs.starts) > 0]] = True
    kept = np.append(0, np.cumsum(new))
    return Shingles(hashes[new], kept[runs.starts])


def run_hashes(found: Words, words: int) -> Shingles:
    """Return the runs of `words` words in order of place; a shorter text is one run of all."""
    counts = np.diff(found.starts)
    runs = np.where(counts > 0, np.maximum(1, counts - words + 1), 0)
    at = ranges(found.starts[:-1], runs)
    joined = np.concatenate([np.empty(0, np.uint64), *(
        join(found.hashes[i:i + PIECE + words - 1], words)[:PIECE]
        for i in range(0, len(found.hashes), PIECE))])
    short = np.flatnonzero((counts > 0) & (counts < words))
    joined[found.starts[short]] = mix(np.array([polynomial(
        found.hashes[found.starts[d]:found.starts[d + 1]]) for d in short], np.uint64))
    return Shingles(joined[at], np.append(0, np.cumsum(runs)))


def join(hashes: np.ndarray, words: int) -> np.ndarray:
    """Return a hash of each word and those after it: a polynomial in theirs, modulo 2^64."""
    padded = np.append(hashes, np.zeros(words, np.uint64))
    joined = padded[:len(hashes)].copy()
    for i in range(1, words):
        joined *= RATIO
        joined += padded[i:i + len(joined)]
    return mix(joined)


def polynomial(hashes: np.ndarray) -> np.uint64:
    """Return the join of the words of one run."""
    powers = np.full(len(hashes), RATIO)
    powers[-1] = 1
    return (hashes * powers[::-1].cumprod()[::-1]).sum(dtype=np.uint64)


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return starts[0], starts[0] + 1, ... counts[0] of them, then those of starts[1], int64."""
    total = int(counts.sum())
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(total)


def signatures(shingles: Shingles, columns: int) -> np.ndarray:
    """Return the MinHash signatures, uint32 [documents, columns].

    Two signatures agree in a column with a probability of the documents' Jaccard similarity.

    Args:
        shingles: of the documents.
        columns: of a signature; a power of two.
    """
    documents = len(shingles.starts) - 1
    bits = columns.bit_length() - 1
    bins = (shingles.hashes >> np.uint64(64 - bits)).astype(np.int64) if bits else np.zeros(
        len(shingles.hashes), np.int64)
    at = np.repeat(np.arange(documents) * columns, shingles.counts()) + bins
    first = np.ones(len(at), bool)
    first[1:] = at[1:] != at[:-1]
    made = np.zeros(documents * columns, np.uint32)
    filled = np.zeros(documents * columns, bool)
    made[at[first]] = (shingles.hashes[first] >> np.uint64(8)).astype(np.uint32)
    filled[at[first]] = True
    return fill_bins(made.reshape(-1, columns), filled.reshape(-1, columns), columns)


def fill_bins(made: np.ndarray, filled: np.ndarray, columns: int) -> np.ndarray:
    """Return the signatures with each empty bin's column taken from another of the document."""
    has_any = filled.any(axis=1)
    rows, bins = np.nonzero(~filled & has_any[:, None])
    for donors in donor_table(columns):
        if not len(rows):
            break
        donor = donors[bins]
        found = filled[rows, donor]
        made[rows[found], bins[found]] = made[rows[found], donor[found]]
        rows, bins = rows[~found], bins[~found]
    made[~has_any] = EMPTY
    return made


@functools.lru_cache(maxsize=8)
def donor_table(columns: int) -> np.ndarray:
    """Return the bin that each bin asks first, second, ..., int64 [columns, columns].

    Each bin asks all bins in a random order of its own: neighbours that asked the same one would
    agree together and make the estimate coarser.
    """
    keys = mix(np.arange(columns * columns, dtype=np.uint64)).reshape(columns, columns)
    return keys.argsort(axis=1, kind="stable").T.copy()
