"""Spans of bytes that stood before, word for word: which windows can be equal, and which are.

ExactSubstr of Lee et al. 2021 (https://arxiv.org/abs/2107.06499) by its definition: of the windows
of `length` bytes that are equal, the first stays. Their suffix array needs all texts in one memory.
Here every window belongs to its minimizer, the least hash among its runs of SEED bytes (Roberts et
al. 2004, https://doi.org/10.1093/bioinformatics/bth408; Schleimer et al. 2003,
https://doi.org/10.1145/872757.872770): equal windows have equal minimizers, so those of one
minimizer are compared alone. Neighbouring windows share theirs, one record for some 40 of them.

Reads bytes as uint8; returns NumPy arrays, the same however texts are cut into parts.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines.kernels.minhash import ranges
from data_pipelines.kernels.words import BYTES, mix, power_tables

SEED = 16                      # bytes of a run, of which a window's minimizer is one
STEP = 1 << 18                 # bytes at a time: what is computed of them stays in the cache


class Anchors(NamedTuple):
    """Runs of windows that have one minimizer.

    keys:    uint64 [n], a hash of the minimizer
    starts:  int64 [n], where the first window begins
    counts:  int64 [n], windows
    several: bool [n], the minimizer stands there more than once: windows may equal each other
    """

    keys: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    several: np.ndarray


def find_anchors(data: np.ndarray, ends: np.ndarray, length: int) -> Iterator[Anchors]:
    """Yield the runs of windows of texts, each window once.

    Args:
        data: uint8 [n], texts end to end.
        ends: int64 [texts], where each ends.
        length: bytes of a window; none spans two texts.
    """
    for start in range(0, len(data) - length + 1, STEP):
        part = data[start:start + STEP + length - 1]
        stop = start + len(part) - length + 1
        found = part_anchors(part, inside(ends, start, stop, length), length)
        yield found._replace(starts=found.starts + start)


def inside(ends: np.ndarray, start: int, stop: int, length: int) -> np.ndarray:
    """Return which windows that begin in a range end in the text they begin in, bool [n]."""
    own = ends[np.searchsorted(ends, start, "right"):np.searchsorted(ends, stop - 1, "right") + 1]
    sizes = np.diff(np.minimum(own, stop), prepend=start)
    return np.arange(start, stop) + length <= np.repeat(own, sizes)


def part_anchors(data: np.ndarray, whole: np.ndarray, length: int) -> Anchors:
    """Return the runs of windows of some bytes, of those that are in one text, bool [windows]."""
    seed = min(SEED, length // 2)
    width = length - seed + 1                            # runs of a window
    hashes = window_hashes(data, np.arange(len(data) - seed + 1), seed)
    least = slide(hashes, width, np.minimum)
    new = np.append(True, (least[1:] != least[:-1]) | (whole[1:] != whole[:-1]))
    starts = np.flatnonzero(new)
    counts = np.diff(np.append(starts, len(least)))
    starts, counts = starts[whole[starts]], counts[whole[starts]]
    # A run of bytes is some window's minimizer where the greatest of its windows' is its own hash.
    around = np.concatenate([np.zeros(width - 1, np.uint64), least, np.zeros(width - 1, np.uint64)])
    chosen = np.flatnonzero(slide(around, width, np.maximum) == hashes)
    first, last = (np.searchsorted(chosen, x) for x in (starts, starts + counts + width - 1))
    owner = np.repeat(np.arange(len(starts)), last - first)
    own = hashes[chosen[ranges(first, last - first)]] == least[starts][owner]
    return Anchors(mix(least[starts]), starts, counts,
                   np.bincount(owner[own], minlength=len(starts)) > 1)


def slide(values: np.ndarray, width: int, best: np.ufunc) -> np.ndarray:
    """Return the least or greatest of every `width` neighbours, by doubling."""
    size, total = 1, len(values) - width + 1
    while 2 * size <= width:
        values = best(values[:-size], values[size:])
        size *= 2
    return best(values[:total], values[width - size:width - size + total])


def window_hashes(data: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Return a hash of each window of `length` bytes, uint64 [n]."""
    powers, inverses = powers_for(len(data))
    sums = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(BYTES.take(data) * powers[:len(data)], out=sums[1:])
    return mix((sums[starts + length] - sums[starts]) * inverses[starts])


def powers_for(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tables of powers for at least so many bytes; few sizes are made."""
    return power_tables(max(2 * STEP, 1 << count.bit_length()))


def later(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which hashes stood before, increasing, and the first of each one's, int64 [n] each."""
    order = np.argsort(hashes, kind="stable")
    new = np.append(True, np.diff(hashes[order]) != 0)[:len(order)]
    first = np.empty_like(order)
    first[order] = order[np.flatnonzero(new)[np.cumsum(new) - 1]]
    gone = np.flatnonzero(first != np.arange(len(first)))
    return gone, first[gone]


def union(spans: np.ndarray) -> np.ndarray:
    """Return the union of spans, int64 [n, 2], sorted; those that touch are one."""
    spans = spans[np.lexsort((spans[:, 1], spans[:, 0]))]
    reach = np.maximum.accumulate(spans[:, 1])
    new = np.flatnonzero(np.append(True, spans[1:, 0] > reach[:-1])[:len(spans)])
    return np.stack([spans[new, 0], reach[np.append(new[1:], len(spans))[:len(new)] - 1]], axis=1)


def whole_characters(data: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Return the spans without the parts of characters at their ends, int64 [n, 2]."""
    starts, stops = spans.T.copy()
    for _ in range(3):         # a character has at most three continuation bytes
        starts += data[np.minimum(starts, len(data) - 1)] >> 6 == 2
        stops -= (stops < len(data)) & (data[np.minimum(stops, len(data) - 1)] >> 6 == 2)
    return np.stack([starts, stops], axis=1)
