"""The round of steps/repeated_spans.py: of runs of windows with one minimizer, what stood before.

A run whose minimizer no other has is left at once, its bytes unread: most of a corpus. Of the
others the bytes are fetched, CHUNK windows at a time, every window is hashed, and what has the hash
of an earlier one is compared with it byte by byte. Memory: the runs of a partition, 33 bytes for
some 40 of text, and one chunk; a passage of a million copies is read whole, 140 MB, and its windows
are judged in parts by hash.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Channels, Context
from data_pipelines.kernels.clusters import preference
from data_pipelines.kernels.minhash import ranges
from data_pipelines.kernels.substring import STEP, later, window_hashes

CHUNK = 1 << 20                # windows judged together, at 40 bytes each
SPANS = pa.schema([("row", pa.int64()), ("start", pa.int64()), ("stop", pa.int64())])


class Runs(NamedTuple):
    """Runs of windows.

    rows:   int64 [n]
    texts:  int64 [n], the rows' places in the order of preference
    starts: int64 [n], the first window's first byte in the row's text
    counts: int64 [n], windows
    """

    rows: np.ndarray
    texts: np.ndarray
    starts: np.ndarray
    counts: np.ndarray

    def of(self, which: np.ndarray | slice) -> "Runs":
        """Return some of the runs."""
        return Runs(*(field[which] for field in self))


class Windows(NamedTuple):
    """Windows in the bytes of a chunk, in the order of preference.

    hashes: uint64 [n]
    runs:   int64 [n], which of the chunk's runs
    starts: int64 [n], first byte in the row's text
    places: int64 [n], first byte in the chunk
    """

    hashes: np.ndarray
    runs: np.ndarray
    starts: np.ndarray
    places: np.ndarray


def judge(channels: Channels, context: Context, *, length: int) -> Channels:
    """Return the spans that stand in a better text, or earlier in their own."""
    found = channels["anchors"]
    keys, starts, several = (found[n].to_numpy() for n in ("key", "start", "several"))
    order = np.lexsort((starts, found["row"].to_numpy(), keys))
    new = np.append(True, np.diff(keys[order]) != 0)[:len(order)]
    group = np.cumsum(new) - 1
    sizes = np.bincount(group)
    worth = (sizes[group] > 1) | several.astype(bool)[order]
    order, group = order[worth], group[worth]
    runs = rank(found.take(pa.array(order)), context)
    spans = [judge_chunk(runs.of(slice(a, b)), context, length)
             for a, b in chunks(group, runs.counts)]
    made = [np.concatenate([np.empty(0, np.int64), *(s[i] for s in spans)]) for i in range(3)]
    return {"verdicts": pa.table(made, schema=SPANS)}


def rank(found: pa.Table, context: Context) -> Runs:
    """Return runs with their texts' places in the order of preference."""
    rows, starts, counts = (found[n].to_numpy() for n in ("row", "start", "count"))
    distinct, at = np.unique(rows, return_inverse=True)
    place = np.empty(len(distinct), np.int64)
    if len(distinct):
        known = context.fetch("facts", distinct).fixed
        place[preference(known["quality"], known["length"], known["id"].astype(str))] = np.arange(
            len(distinct))
    return Runs(rows, place[at], starts, counts)


def chunks(group: np.ndarray, counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield ranges of whole groups, of a CHUNK of windows unless one group has more."""
    first = np.flatnonzero(np.append(True, np.diff(group) != 0)[:len(group)])
    full = np.append(0, np.cumsum(counts))[np.append(first, len(counts))] // CHUNK
    ends = np.flatnonzero(np.diff(full)) + 1
    yield from itertools.pairwise(np.unique([0, *np.append(first, len(group))[ends], len(group)]))


def judge_chunk(runs: Runs, context: Context, length: int
                ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, starts and stops of the spans that stood before, of some runs."""
    runs = runs.of(np.lexsort((runs.starts, runs.texts)))     # and so their windows, none of two
    sizes = runs.counts + length - 1
    data = context.read("texts", runs.rows, runs.starts, runs.starts + sizes)
    passes = -(-int(runs.counts.sum()) // (4 * CHUNK))
    spans = []
    for turn in range(passes):
        found = windows(data, runs, length, passes, turn)
        gone = checked(data, found, *later(found.hashes), length)
        rows, starts = runs.rows[found.runs[gone]], found.starts[gone]
        spans.append((rows, starts, starts + length))
    return join_spans(*(np.concatenate([s[i] for s in spans]) for i in range(3)))


def windows(data: np.ndarray, runs: Runs, length: int, passes: int, turn: int) -> Windows:
    """Return the windows of runs whose hash falls into one of the passes."""
    sizes = runs.counts + length - 1
    bounds, found = np.append(0, np.cumsum(sizes)), []
    for first, last in pieces(sizes):
        counts, base = runs.counts[first:last], bounds[first]
        places = ranges(bounds[first:last] - base, counts)
        hashes = window_hashes(data[base:bounds[last]], places, length)
        every = Windows(hashes, np.repeat(np.arange(first, last), counts),
                        ranges(runs.starts[first:last], counts), places + base)
        taken = hashes % np.uint64(passes) == turn
        found.append(every if passes == 1 else Windows(*(f[taken] for f in every)))
    return Windows(*map(np.concatenate, zip(*found, strict=True)))


def pieces(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield ranges of about STEP bytes; none where there is nothing."""
    new = np.flatnonzero(np.diff(np.cumsum(sizes) // STEP)) + 1
    yield from itertools.pairwise([0, *new.tolist(), len(sizes)] if len(sizes) else [])


def checked(data: np.ndarray, found: Windows, gone: np.ndarray, first: np.ndarray,
            length: int) -> np.ndarray:
    """Return which of the later windows are equal to the first of their hash, byte by byte.

    Where two texts share a hash by chance, its windows are compared with each other instead.
    """
    apart = np.ones(len(gone), bool)       # a window next to one that is equal has one new byte
    apart[1:] = (np.diff(found.places[gone]) != 1) | (np.diff(found.places[first]) != 1)
    begin = np.flatnonzero(apart)
    sizes = np.diff(np.append(begin, len(gone))) + length - 1
    same = np.concatenate([np.empty(0, bool), *(
        equal(data, found.places[gone[begin[a:b]]], found.places[first[begin[a:b]]], sizes[a:b])
        for a, b in pieces(sizes))])
    true = np.repeat(same, sizes - length + 1)
    if true.all():
        return gone
    unsure = np.isin(found.hashes, found.hashes[gone[~true]])
    return np.append(gone[~unsure[gone]],
                     by_bytes(data, found.places, np.flatnonzero(unsure), length))


def equal(data: np.ndarray, left: np.ndarray, right: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return whether so many bytes from two places on are equal, bool [n]."""
    same = data[ranges(left, sizes)] == data[ranges(right, sizes)]
    return np.logical_and.reduceat(same, np.append(0, np.cumsum(sizes)[:-1]))


def by_bytes(data: np.ndarray, places: np.ndarray, some: np.ndarray, length: int) -> np.ndarray:
    """Return which of some windows, in order, repeat an earlier one, compared without hashes."""
    seen: set[bytes] = set()
    gone = []
    for window in some:
        own = data[places[window]:places[window] + length].tobytes()
        if own in seen:
            gone.append(window)
        seen.add(own)
    return np.array(gone, np.int64)


def join_spans(rows: np.ndarray, begins: np.ndarray, ends: np.ndarray
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return windows that follow each other one byte apart as one span."""
    new = np.append(True, (np.diff(rows) != 0) | (np.diff(begins) != 1))[:len(rows)]
    last = np.append(new[1:], True)[:len(rows)]
    return rows[new], begins[new], ends[last]
