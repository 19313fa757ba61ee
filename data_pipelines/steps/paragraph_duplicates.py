"""Cut paragraphs that a better document has: notices, menus, quoted articles.

One copy of each paragraph stays, in the document of best quality, then the longest, then that of
the smallest id. A document of which little is left is dropped whole with its text as it was. A
grouped step over the table of documents; `detail` of dropped rows is the share of characters that
repeats.
"""

import functools

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Channels, Context, Emitted, Grouped, Round
from data_pipelines.kernels.clusters import preference
from data_pipelines.kernels.paragraphs import cut, find_paragraphs, later
from data_pipelines.survivors import lengths, scores
from data_pipelines.table import column, drop, kept, replace, texts
from ssljax.core.errors import ConfigError


def make(*, min_words: int = 8, min_left: float = 0.3, quality: str = "") -> Grouped:
    """Return the step.

    Args:
        min_words: shorter paragraphs stay: headings, items of lists, lines of code.
        min_left: share of characters that must be left of a document, or it is dropped.
        quality: column of numbers by which survivors are preferred; empty: length and id decide.

    Raises:
        ConfigError: settings that cannot be.
    """
    if min_words < 1 or not 0 <= min_left <= 1:
        raise ConfigError(f"paragraph_duplicates: min_words {min_words}, min_left {min_left}; "
                          "expected at least 1, and a share from 0 to 1.")
    return Grouped(functools.partial(emit, min_words=min_words, quality=quality),
                   (Round("repeats", ("paragraphs",), judge),),
                   functools.partial(cut_repeats, min_left=min_left))


def emit(table: pa.Table, first: int, *, min_words: int, quality: str) -> Emitted:
    """Return a record of every paragraph that is long enough."""
    rows = kept(table)
    found = [find_paragraphs(t, min_words) for t in texts(table, rows)]
    at = np.repeat(np.arange(len(rows)), [len(f.keys) for f in found])
    spans = np.concatenate([np.empty((0, 2), np.int64), *(f.spans for f in found)])
    return {"paragraphs": pa.table({
        "key": np.concatenate([np.empty(0, np.uint64), *(f.keys for f in found)]),
        "row": rows[at] + first, "start": spans[:, 0], "stop": spans[:, 1],
        "quality": scores(table, rows, quality)[at], "length": lengths(table, rows)[at],
        "id": table["id"].take(pa.array(rows[at], pa.int64())).combine_chunks()})}


def judge(channels: Channels, context: Context) -> Channels:
    """Return the paragraphs that a better document, or this one earlier, has."""
    del context
    found = channels["paragraphs"]
    best = preference(*(found[n].to_numpy() for n in ("quality", "length")),
                      found["id"].to_numpy().astype(str))
    _, first, document = np.unique(found["row"].to_numpy()[best], return_index=True,
                                   return_inverse=True)
    place = np.empty(len(best), np.int64)
    place[best] = first[document]                  # where the document first comes in preference
    gone = later(found["key"].to_numpy(), place, found["start"].to_numpy())
    return {"verdicts": found.select(["row", "start", "stop"]).filter(pa.array(gone))}


def cut_repeats(table: pa.Table, found: pa.Table, *, min_left: float) -> pa.Table:
    """Return the table of a block without the paragraphs that repeat."""
    rows, starts, stops = (found[n].to_numpy() for n in ("row", "start", "stop"))
    order = np.lexsort((starts, rows))
    spans = np.stack([starts, stops], axis=1)[order]
    some, first = np.unique(rows[order], return_index=True)
    changed, verdicts = column(table, "text"), {}
    for row, begin, end in zip(some.tolist(), first, np.append(first[1:], len(spans)),
                               strict=False):      # one end too many where nothing repeats
        cuts = spans[begin:end]
        gone = int((cuts[:, 1] - cuts[:, 0]).sum()) / len(changed[row])
        if 1 - gone < min_left:
            verdicts[row] = ("duplicate_paragraphs", f"{gone:.3f}")
        else:
            changed[row] = cut(changed[row], cuts)
    return replace(drop(table, verdicts), "text", changed)
