"""Cut spans of text that stand word for word in a better document or earlier in the same one.

50 tokens of English are some 200 bytes, 100 bytes the length of Lee et al. 2021 for bytes
(https://arxiv.org/abs/2107.06499). The first copy stays: that of best quality, then of the longest
document, then of the smallest id. A document of which little is left is dropped with its text as
it was. Reads and returns the table of documents; `detail` of dropped rows is the repeating share.

A grouped step: every window of `length` bytes is compared with all that may equal it
(data_pipelines/kernels/substring.py), in bounded memory and whatever the blocks and partitions. On
disk it takes twice the text while it runs.
"""

import functools

import numpy as np
import pyarrow as pa

from data_pipelines import span_rounds
from data_pipelines.engine.plan import Emitted, Grouped, Round, Rows
from data_pipelines.kernels.paragraphs import cut
from data_pipelines.kernels.substring import Anchors, find_anchors, union, whole_characters
from data_pipelines.survivors import lengths, scores
from data_pipelines.table import column, drop, kept, replace
from ssljax.core.errors import ConfigError

FACTS = np.dtype([("quality", np.float64), ("length", np.int64), ("id", "S16")])


def make(*, length: int = 100, min_left: float = 0.3, quality: str = "") -> Grouped:
    """Return the step.

    Args:
        length: bytes of the shortest span that counts.
        min_left: share of bytes that must be left of a document, or it is dropped.
        quality: column of numbers by which survivors are preferred; empty: length and id decide.

    Raises:
        ConfigError: settings that cannot be.
    """
    if length < 8 or not 0 <= min_left <= 1:
        raise ConfigError(f"repeated_spans: length {length}, min_left {min_left}; expected at "
                          "least 8 bytes, and a share from 0 to 1.")
    return Grouped(functools.partial(emit, length=length, quality=quality),
                   (Round("repeats", ("anchors",), functools.partial(span_rounds.judge,
                                                                     length=length)),),
                   functools.partial(cut_spans, min_left=min_left))


def emit(table: pa.Table, first: int, *, length: int, quality: str) -> Emitted:
    """Return runs of windows by their minimizer, and the texts of a block as bytes."""
    rows = kept(table)
    data = [t.encode() for t in table["text"].take(pa.array(rows)).to_pylist()]
    known = np.zeros(len(rows), FACTS)
    known["quality"], known["length"] = scores(table, rows, quality), lengths(table, rows)
    known["id"] = np.array(table["id"].take(pa.array(rows)).to_pylist(), "S16")
    sizes = np.array([len(d) for d in data], np.int64)
    values = -(-sizes // 8)                          # of 64 bits, the last one filled up
    padded = np.frombuffer(b"".join(d + bytes(-len(d) % 8) for d in data), np.uint64)
    nothing = np.zeros(len(rows) + 1, np.int64)
    return {"anchors": anchors(b"".join(data), np.cumsum(sizes), rows + first, length),
            "facts": Rows(rows + first, known, padded[:0], nothing),
            "texts": Rows(rows + first, known[["length"]], padded, np.append(0, np.cumsum(values)))}


def anchors(data: bytes, ends: np.ndarray, numbers: np.ndarray, length: int) -> pa.Table:
    """Return the runs of windows of texts end to end, with the row and the byte they begin at."""
    found = [*find_anchors(np.frombuffer(data, np.uint8), ends, length)]
    empty = [np.empty(0, t) for t in (np.uint64, np.int64, np.int64, bool)]
    every = Anchors(*map(np.concatenate, zip(empty, *found, strict=True)))
    text = np.searchsorted(ends, every.starts, "right")
    begins = np.append(0, ends[:-1])[:len(ends)]
    return pa.table({"key": every.keys, "row": numbers[text], "start": every.starts - begins[text],
                     "count": every.counts, "several": every.several.astype(np.uint8)})


def cut_spans(table: pa.Table, found: pa.Table, *, min_left: float) -> pa.Table:
    """Return the table of a block without the spans that stood before."""
    rows = found["row"].to_numpy()
    order = np.argsort(rows, kind="stable")
    spans = np.stack([found[n].to_numpy() for n in ("start", "stop")], axis=1)[order]
    some, first = np.unique(rows[order], return_index=True)
    changed, verdicts = column(table, "text"), {}
    for row, own in zip(some.tolist(), np.split(spans, first[1:]), strict=False):
        text = changed[row].encode()
        cuts = whole_characters(np.frombuffer(text, np.uint8), union(own))
        gone = (cuts[:, 1] - cuts[:, 0]).sum() / len(text)
        if 1 - gone < min_left:
            verdicts[row] = ("repeated_spans", f"{gone:.3f}")
        else:
            changed[row] = cut(text.decode("latin-1"), cuts).encode("latin-1").decode()
    return replace(drop(table, verdicts), "text", changed)
