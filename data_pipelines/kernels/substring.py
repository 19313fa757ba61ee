"""Spans of bytes that stood before, word for word, by a suffix array over all texts.

ExactSubstr of Lee et al. 2021 (https://arxiv.org/abs/2107.06499): suffixes in order bring equal
spans side by side, whatever stands around them. The first copy stays, all others can be cut.
libdivsufsort builds the array: 4 MB of text a CPU-second, in memory of 13 times the text. A caller
with more hands over parts: what repeats across two parts is then found by paragraphs and signatures
only.

Reads texts in order of preference; returns spans of bytes, cut to whole characters.
"""

from collections.abc import Sequence

import numpy as np

from ssljax.core.errors import MissingExtraError

SEPARATOR = b"\xff"            # in no UTF-8 text
LARGEST = 2**31 - 1            # bytes of a 32-bit suffix array


def repeated_spans(texts: Sequence[bytes], length: int) -> list[np.ndarray]:
    """Return the spans of each text that stand in an earlier text or earlier in itself.

    Args:
        texts: UTF-8; the first copy of a span stays.
        length: bytes of the shortest span that counts.

    Returns:
        int64 [n, 2] a text: first byte and end, sorted, apart, on bounds of characters.

    Raises:
        MissingExtraError: pydivsufsort is not installed.
        ValueError: more than 2 GiB of texts.
    """
    data = np.frombuffer(bytearray(SEPARATOR.join([*texts, b""])), np.uint8)   # to be writable
    if len(data) > LARGEST:
        raise ValueError(f"{len(data):,} bytes of texts; expected at most {LARGEST:,}: hand over "
                         "parts.")
    ends = np.cumsum([len(t) + 1 for t in texts], dtype=np.int64) - 1
    if len(data) < 2 * length:
        return [np.empty((0, 2), np.int64) for _ in texts]
    begins = later_copies(data, length)
    begins = begins[begins + length <= ends[np.searchsorted(ends, begins)]]
    spans = whole_characters(data, merge(begins, length))
    owner = np.searchsorted(ends, spans[:, 0])
    starts = np.append(0, ends[:-1] + 1)
    cuts = np.searchsorted(owner, np.arange(1, len(texts)))
    return [part - start for part, start in zip(np.split(spans, cuts), starts, strict=True)]


def later_copies(data: np.ndarray, length: int) -> np.ndarray:
    """Return where spans of `length` bytes begin that have begun before, sorted, int64 [n]."""
    try:
        from pydivsufsort import divsufsort, kasai
    except ImportError as err:
        raise MissingExtraError("pydivsufsort", "curate") from err
    order = divsufsort(data)
    # kasai[i] is what suffixes i and i + 1 in order have in common; the last has no next.
    same = np.asarray(kasai(data, order))[:-1] >= length
    shared = np.append(same, False) | np.append(False, same)
    new, order = np.append(True, ~same)[shared], order[shared]
    group = np.flatnonzero(new)
    if not len(group):
        return np.empty(0, np.int64)
    first = np.repeat(np.minimum.reduceat(order, group), np.diff(np.append(group, len(order))))
    return np.sort(order[order != first]).astype(np.int64)


def merge(begins: np.ndarray, length: int) -> np.ndarray:
    """Return the union of spans of `length` bytes, int64 [n, 2]; spans that touch are one."""
    new = np.append(True, np.diff(begins) > length)[:len(begins)]
    last = np.append(new[1:], True)[:len(begins)]
    return np.stack([begins[new], begins[last] + length], axis=1)


def whole_characters(data: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Return the spans without the parts of characters at their ends, int64 [n, 2]."""
    starts, stops = spans.T.copy()
    for _ in range(3):         # a character has at most three continuation bytes
        starts += data[starts] >> 6 == 2
        stops -= data[np.minimum(stops, len(data) - 1)] >> 6 == 2
    return np.stack([starts, stops], axis=1)
