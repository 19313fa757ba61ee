"""Paragraphs that other documents have too: where they are, which is the first, what is left.

Paragraphs are lines, compared as cc_net does (Wenzek et al. 2019, https://arxiv.org/abs/1911.00359):
lower case, digits alike, punctuation off. Keys are independent of each other: `later` of any
partition by key gives the rows of the whole. Two paragraphs in 2^64 share a key by chance.
"""

import hashlib
import re
from typing import NamedTuple

import numpy as np

PARAGRAPH = re.compile(r"[^\n]*\S[^\n]*\n*")
DIGIT = re.compile(r"\d")
PUNCTUATION = re.compile(r"[^\w\s]|_")


class Paragraphs(NamedTuple):
    """The paragraphs of one document that are long enough to compare.

    keys:  uint64 [n]
    spans: int64 [n, 2], first character and end, line feeds after it included
    """

    keys: np.ndarray
    spans: np.ndarray


def find_paragraphs(text: str, min_words: int) -> Paragraphs:
    """Return the paragraphs of a text with at least `min_words` words."""
    found = [(m.group(), m.span()) for m in PARAGRAPH.finditer(text)]
    found = [(p, span) for p, span in found if len(p.split()) >= min_words]
    return Paragraphs(np.array([key(p) for p, _ in found], np.uint64),
                      np.array([span for _, span in found], np.int64).reshape(-1, 2))


def key(paragraph: str) -> int:
    """Return a 64-bit hash of a paragraph, case, digits and punctuation aside."""
    plain = PUNCTUATION.sub("", DIGIT.sub("0", paragraph.lower()))
    digest = hashlib.blake2b(" ".join(plain.split()).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def later(keys: np.ndarray, documents: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return which paragraphs repeat one of a better document or of an earlier place, bool [n].

    Args:
        keys: uint64 [n]; all of one value are in one partition.
        documents: int64 [n], numbers in order of preference, smallest first.
        places: int64 [n], where in the document.
    """
    order = np.lexsort((places, documents, keys))
    repeats = np.zeros(len(keys), bool)
    repeats[order[1:]] = keys[order[1:]] == keys[order[:-1]]
    return repeats


def cut(text: str, spans: np.ndarray) -> str:
    """Return the text without some spans, int64 [n, 2], sorted and apart."""
    pieces, at = [], 0
    for start, stop in spans.tolist():
        pieces.append(text[at:start])
        at = stop
    return "".join([*pieces, text[at:]]).rstrip("\n")
