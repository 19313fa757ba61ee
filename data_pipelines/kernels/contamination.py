"""Which documents hold items of evaluation sets, verbatim or edited.

Two stages over normalised words (data_pipelines.kernels.words: case, spacing and punctuation do not
count). First an index of the items' word 3-grams names the items of which a document has a share of
ENOUGH; peers look for 8 to 13 equal words in a row, which one edit in eight words destroys (GPT-3,
https://arxiv.org/abs/2005.14165, appendix C). Then the words of each such item are aligned with the
place where most of its 3-grams are: the score is the longest common subsequence as a share of the
item's words, so a document cannot reach it by having the same words all over.

Reads Arrow arrays of strings; returns NumPy arrays, the same in any order of documents. Memory: 32
bytes a word of the items; documents are taken as they come.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from data_pipelines.kernels.minhash import ranges
from data_pipelines.kernels.words import Words, find_words, mix

GRAM = 3                       # words
ENOUGH = 0.4                   # of an item's 3-grams; one word in ten edited leaves 0.73
COMMON = 32                    # items from which on a 3-gram is a phrase of the set and no evidence
SLACK = 0.25                   # of an item's words may be inserted or deleted before it is lost
FILTER_BITS = 22               # 4 MiB that tell most words of most documents from those of items
RATIO = np.uint64(0xD1B54A32D192ED03)


class Index(NamedTuple):
    """The 3-grams of items and where they stand.

    grams:    uint64 [G], sorted and distinct
    starts:   int64 [G + 1], the first place of each
    items:    int64 [P], the item of each place
    places:   int64 [P], its word in the item
    words:    of the items
    enough:   int64 [items], distinct 3-grams that make a document worth a look; 0: not searched for
    filter:   bool [2^FILTER_BITS], whether a 3-gram may be one of these
    """

    grams: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    places: np.ndarray
    words: Words
    enough: np.ndarray
    filter: np.ndarray


class Hits(NamedTuple):
    """Items found, in order of document and item.

    documents, items: int64 [n]
    scores:           float64 [n], share of the item's words in the document, in order
    """

    documents: np.ndarray
    items: np.ndarray
    scores: np.ndarray


def build_index(items: pa.Array, min_words: int = 8) -> Index:
    """Return the index of the items' texts.

    Args:
        items: texts of the items of all evaluation sets.
        min_words: shorter items are not searched for: "the man lost his balance" is no leak.
    """
    words = find_words(items)
    keys, owners, places = word_grams(words)
    order = np.lexsort((places, owners, keys))
    keys, owners, places = keys[order], owners[order], places[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[:len(keys)])
    counts = np.diff(np.append(starts, len(keys)))
    rare = np.repeat(counts <= COMMON, counts)
    distinct = np.unique(np.stack([owners[rare].astype(np.uint64), keys[rare]]), axis=1)[0]
    sizes = np.bincount(distinct.astype(np.int64), minlength=len(items))
    enough = np.maximum(1, np.ceil(ENOUGH * sizes)).astype(np.int64)
    enough[np.diff(words.starts) < max(GRAM, min_words)] = 0
    useful = rare & (enough[owners] > 0)
    grams, first = np.unique(keys[useful], return_index=True)
    maybe = np.zeros(1 << FILTER_BITS, bool)
    maybe[grams >> np.uint64(64 - FILTER_BITS)] = True
    return Index(grams, np.append(first, useful.sum()), owners[useful], places[useful], words,
                 enough, maybe)


def word_grams(words: Words) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the 3-grams of texts, uint64 [n], whose they are and at which word, int64 [n]."""
    counts = np.diff(words.starts)
    runs = np.maximum(0, counts - GRAM + 1)
    at = ranges(words.starts[:-1], runs)
    joined = np.zeros(max(0, len(words.hashes) - GRAM + 1), np.uint64)
    for i in range(GRAM):
        joined = joined * RATIO + words.hashes[i:i + len(joined)]
    owners = np.repeat(np.arange(len(counts)), runs)
    return mix(joined[at]), owners, at - words.starts[owners]


def find_items(index: Index, texts: pa.Array, at_least: float) -> Hits:
    """Return the items that documents hold.

    Args:
        index: of the items.
        texts: the documents.
        at_least: share of an item's words that make it a leak.
    """
    words = find_words(texts)
    documents, items, diagonals = candidates(index, words)
    pair = documents * len(index.enough) + items
    first = np.flatnonzero(np.append(True, pair[1:] != pair[:-1])[:len(pair)])
    stops = np.append(first[1:], len(pair))
    scores = np.array([align(text_words(words, documents[a]), text_words(index.words, items[a]),
                             diagonals[a:b])
                       for a, b in zip(first.tolist(), stops.tolist(), strict=False)], np.float64)
    found = scores >= at_least
    return Hits(documents[first][found], items[first][found], scores[found])


def text_words(words: Words, number: int) -> np.ndarray:
    """Return the hashes of one text's words, uint64 [n]."""
    return words.hashes[words.starts[number]:words.starts[number + 1]]


def candidates(index: Index, words: Words) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the 3-grams in common of documents and items that have enough of them.

    Returns:
        documents, items, diagonals, int64 [n] each, in this order of sorting: where in the
        document the item would begin if nothing were inserted or deleted.
    """
    keys, owners, places = word_grams(words)
    maybe = np.flatnonzero(index.filter[keys >> np.uint64(64 - FILTER_BITS)])
    at = np.searchsorted(index.grams, keys[maybe])
    known = np.append(index.grams, np.uint64(0))[at] == keys[maybe]
    known &= at < len(index.grams)
    maybe, at = maybe[known], at[known]
    counts = np.diff(index.starts)[at]
    posting = ranges(index.starts[at], counts)
    source = np.repeat(maybe, counts)
    pair = owners[source] * len(index.enough) + index.items[posting]
    pair, source, posting = frequent(pair, source, posting, index.enough)
    diagonals = places[source] - index.places[posting]
    order = np.lexsort((diagonals, index.items[posting], owners[source]))
    return owners[source][order], index.items[posting][order], diagonals[order]


def frequent(pair: np.ndarray, source: np.ndarray, posting: np.ndarray,
             enough: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of pairs (document, item) that share enough distinct places of the item."""
    # A first, cheap count of rows throws out nearly all; only the others are counted exactly.
    order = np.argsort(pair, kind="stable")
    pair, source, posting = pair[order], source[order], posting[order]
    for distinct in (False, True):
        new = np.append(True, pair[1:] != pair[:-1])[:len(pair)]
        run = np.cumsum(new) - 1
        counted = np.ones(len(pair), bool)
        if distinct:
            again = np.lexsort((posting, pair))
            counted[again[1:]] = posting[again[1:]] != posting[again[:-1]]
            counted[again[1:]] |= pair[again[1:]] != pair[again[:-1]]
        sizes = np.bincount(run, weights=counted)
        kept = sizes[run] >= enough[pair % len(enough)]
        pair, source, posting = pair[kept], source[kept], posting[kept]
    return pair, source, posting


def align(document: np.ndarray, item: np.ndarray, diagonals: np.ndarray) -> float:
    """Return the share of the item's words that follow each other where most 3-grams are.

    Args:
        document: hashes of its words, uint64.
        item: the same.
        diagonals: where the item would begin, int64 [n], sorted.
    """
    slack = max(2, round(SLACK * len(item)))
    together = np.searchsorted(diagonals, diagonals + slack, "right") - np.arange(len(diagonals))
    start = int(diagonals[together.argmax()])
    window = document[max(0, start - slack):max(0, start + len(item) + 2 * slack)]
    return common_subsequence(item.tolist(), window.tolist()) / len(item)


def common_subsequence(a: list[int], b: list[int]) -> int:
    """Return the length of the longest common subsequence.

    One bit a word of `a` in one large integer (Hyyrö 2004, "Bit-parallel LCS-length computation
    revisited"): 0.3 us a word of `b`.
    """
    where: dict[int, int] = {}
    for i, word in enumerate(a):
        where[word] = where.get(word, 0) | 1 << i
    everything = (1 << len(a)) - 1
    row = everything
    for word in b:
        matched = row & where.get(word, 0)
        row = (row + matched | row - matched) & everything
    return len(a) - row.bit_count()
