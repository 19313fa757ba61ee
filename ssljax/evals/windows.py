"""Lay documents out in fixed rows so that a language model judges every target exactly once.

A document of n tokens has n + 1 targets: its tokens and the end of text. One that is longer than a
row is cut into windows; all but its first begin with `overlap` targets that only give context
(strided evaluation; Press et al. 2021, "Shortformer", https://arxiv.org/abs/2012.15832, section 3).
Windows share rows as documents do in training, kept apart by their segment ids. Pure numpy.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ssljax.core.errors import ConfigError
from ssljax.data.packing import best_fit


class Window(NamedTuple):
    """Targets [start, stop) of one document; another window counted those before `fresh`."""

    document: int
    start: int
    fresh: int
    stop: int


def cut(lengths: Sequence[int], *, seq_len: int, overlap: int = 0) -> list[Window]:
    """Return the windows of documents with `lengths` tokens each.

    Args:
        lengths: tokens of each document, without boundary tokens.
        seq_len: most targets in a window.
        overlap: targets of context that a window repeats from the one before.

    Raises:
        ConfigError: windows would not advance.
    """
    if seq_len < 1 or not 0 <= overlap < seq_len:
        raise ConfigError(f"seq_len {seq_len} and overlap {overlap}: a window needs at least one "
                          "target, and overlap must be at least 0 and less than seq_len.")
    windows = []
    for document, length in enumerate(lengths):
        start = fresh = 0
        while fresh <= length:
            stop = min(start + seq_len, int(length) + 1)
            windows.append(Window(document, start, fresh, stop))
            start, fresh = stop - overlap, stop
    return windows


def pack(windows: Sequence[Window], *, seq_len: int) -> list[list[Window]]:
    """Put windows into few rows of `seq_len`; those of a row keep the order of their documents."""
    fits = best_fit(np.array([w.stop - w.start for w in windows], np.int64), seq_len)
    rows: list[list[Window]] = [[] for _ in range(max(fits, default=-1) + 1)]
    for window, row in zip(windows, fits, strict=True):
        rows[row].append(window)
    return rows


def batches(rows: Sequence[Sequence[Window]], framed: Sequence[np.ndarray], *, seq_len: int,
            batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of fixed shape; the last one is filled up with empty rows.

    Args:
        rows: what `pack` returned.
        framed: of each document its tokens between two end-of-text tokens.
        seq_len: L, targets in a row.
        batch_size: B, rows in a batch.

    Yields:
        int32 [B, L] tokens, targets, positions (from 0 in every window), segment_ids (0 where
        empty), and document: whose target it is, -1 where it is not counted.
    """
    for first in range(0, len(rows), batch_size):
        batch = {name: np.zeros((batch_size, seq_len), np.int32)
                 for name in ("tokens", "targets", "positions", "segment_ids")}
        batch["document"] = np.full((batch_size, seq_len), -1, np.int32)
        for row, windows in enumerate(rows[first:first + batch_size]):
            at = 0
            for segment, window in enumerate(windows, start=1):
                at = write(batch, (row, at), window, framed[window.document], segment)
        yield batch


def write(batch: dict[str, np.ndarray], where: tuple[int, int], window: Window, framed: np.ndarray,
          segment: int) -> int:
    """Write one window into a batch at (row, column); return the next free column."""
    row, at = where
    size, skip = window.stop - window.start, window.fresh - window.start
    here = slice(at, at + size)
    batch["tokens"][row, here] = framed[window.start:window.stop]
    batch["targets"][row, here] = framed[window.start + 1:window.stop + 1]
    batch["positions"][row, here] = np.arange(size)
    batch["segment_ids"][row, here] = segment
    batch["document"][row, at + skip:at + size] = window.document
    return at + size
