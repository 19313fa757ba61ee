"""A word n-gram model with modified Kneser-Ney smoothing, in NumPy.

Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling"
(https://doi.org/10.1006/csla.1999.0128), section 3: interpolated, three discounts an order, lower
orders by continuation counts. Probabilities of all words sum to one in every context. Words are
hashes; those outside the vocabulary are one word, "unknown". Documents begin after markers and do
not end. Reads hashes and starts as `find_words` gives them, returns arrays that a file can hold.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from data_pipelines.kernels.words import Words, mix

UNKNOWN, BEGIN, FIRST = 0, 1, 2          # ids; words follow in order of their hash
MULTIPLIER = np.uint64(0xD1342543DE82EF95)


class Order(NamedTuple):
    """The n-grams of one length.

    keys:     uint64 [n], hashes of n-grams, sorted
    counts:   int64 [n], continuation counts, of the longest order plain ones
    contexts: uint64 [m], hashes of all words but the last, sorted
    totals:   float64 [m], sums of counts
    backoffs: float64 [m], share left to the next shorter order
    discounts: float64 [4], taken from counts of 0, 1, 2, and 3 or more
    """

    keys: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    backoffs: np.ndarray
    discounts: np.ndarray


def fit_ngrams(words: Words, *, order: int, vocabulary: int) -> dict[str, np.ndarray]:
    """Return the model of some documents as named arrays.

    Args:
        words: of the documents.
        order: words of the longest n-gram.
        vocabulary: most words that are told apart, the most frequent ones.
    """
    hashes, counts = np.unique(words.hashes, return_counts=True)
    known = np.sort(hashes[np.lexsort((hashes, -counts))[:vocabulary]])
    ids, real = padded(words, known, order)
    keys = {n: chain(ids, n) for n in range(1, order + 1)}
    model = {"vocabulary": known}
    plain: np.ndarray | None = None
    for n in range(order, 0, -1):
        ends = real[real >= n - 1]
        if plain is None:
            grams, first, numbers = np.unique(keys[n][ends - n + 1], return_index=True,
                                              return_counts=True)
        else:                            # a continuation count: distinct words that come before
            grams, first, numbers = np.unique(keys[n][plain - n + 1], return_index=True,
                                              return_counts=True)
            ends = plain
        plain = ends[first]              # where one of each n-gram ends
        before = keys[n - 1][plain - n + 1] if n > 1 else np.zeros(len(plain), np.uint64)
        for name, value in zip(Order._fields, estimate(grams, numbers, before), strict=True):
            model[f"{n}.{name}"] = value
    return model


def estimate(keys: np.ndarray, counts: np.ndarray, before: np.ndarray) -> Order:
    """Return the smoothed order of n-grams with their counts and contexts."""
    ones = [int((counts == i).sum()) for i in range(1, 5)]
    y = ones[0] / max(1, ones[0] + 2 * ones[1])
    # A corpus too small for these formulas gets KenLM's fallback.
    found = [i - (i + 1) * y * ones[i] / ones[i - 1] if ones[i - 1] else -1.0 for i in (1, 2, 3)]
    discounts = np.array([0.0, *(d if 0 < d <= i else f for i, d, f in
                                 zip((1, 2, 3), found, (0.5, 1.0, 1.5)))])
    contexts, at = np.unique(before, return_inverse=True)
    totals = np.bincount(at, counts, len(contexts))
    left = np.bincount(at, discounts[np.minimum(counts, 3)], len(contexts))
    return Order(keys, counts, contexts, totals, left / totals, discounts)


def log_probabilities(words: Words, model: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the natural logarithm of each word's probability after those before it, float64 [n].

    Args:
        words: of documents.
        model: as `fit_ngrams` returns it.
    """
    known = model["vocabulary"]
    order = max(int(name.split(".")[0]) for name in model if "." in name)
    ids, real = padded(words, known, order)
    # The uniform distribution below unigrams: every word of the vocabulary, and the unknown.
    result = np.full(len(real), 1.0 / (len(known) + 1))
    before = np.zeros(len(real), np.uint64)
    for n in range(1, order + 1):
        some = Order(*(model[f"{n}.{field}"] for field in Order._fields))
        keys = chain(ids, n)[real - n + 1]
        count = look_up(some.keys, some.counts, keys)
        total = look_up(some.contexts, some.totals, before)
        seen = total > 0
        kept = (count - some.discounts[np.minimum(count, 3)]) / np.maximum(total, 1)
        result = np.where(seen, kept + look_up(some.contexts, some.backoffs, before) * result,
                          result)
        if n < order:                    # the next order's context: the n words before each
            before = chain(ids, n)[real - n]
    return np.log(result)


def perplexities(words: Words, model: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the perplexity a word of each document, float64 [documents]; NaN without words."""
    owners = np.repeat(np.arange(len(words.starts) - 1), np.diff(words.starts))
    lengths = np.diff(words.starts)
    sums = np.bincount(owners, log_probabilities(words, model), len(lengths))
    with np.errstate(invalid="ignore"):
        return np.exp(-sums / lengths)


def padded(words: Words, known: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids with `order` - 1 markers before each document, int64, and where words are."""
    place = np.searchsorted(known, words.hashes)
    place = np.minimum(place, max(0, len(known) - 1))
    found = known[place] == words.hashes if len(known) else np.zeros(len(place), bool)
    owners = np.repeat(np.arange(len(words.starts) - 1), np.diff(words.starts))
    real = np.arange(len(words.hashes)) + (owners + 1) * (order - 1)
    ids = np.full(len(words.hashes) + (len(words.starts) - 1) * (order - 1), BEGIN)
    ids[real] = np.where(found, place + FIRST, UNKNOWN)
    return ids, real


def chain(ids: np.ndarray, n: int) -> np.ndarray:
    """Return the hash of the n ids that begin at each place, uint64 [len(ids) - n + 1]."""
    result = np.zeros(len(ids) - n + 1, np.uint64)
    for i in range(n):
        result = mix(result * MULTIPLIER + ids[i:i + len(result)].astype(np.uint64) + np.uint64(1))
    return result


def look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the value of each wanted key, 0 where it is absent."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], np.zeros(1, values.dtype))
