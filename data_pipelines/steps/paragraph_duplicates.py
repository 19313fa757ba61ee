"""Cut paragraphs that a better document has: notices, menus, quoted articles.

One copy of each paragraph stays, in the document of best quality, then the longest, then that of
the smallest id. A document of which little is left is dropped whole with its text as it was. Reads
and returns the table of documents, the same for any order of rows; `detail` of dropped rows is the
share of characters that repeats.
"""

import numpy as np
import pyarrow as pa

from data_pipelines.kernels.paragraphs import cut, find_paragraphs, later
from data_pipelines.survivors import rank
from data_pipelines.table import Step, column, drop, replace, texts
from ssljax.core.errors import ConfigError


def make(*, min_words: int = 8, min_left: float = 0.3, quality: str = "") -> Step:
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

    def apply(table: pa.Table) -> pa.Table:
        ranked = rank(table, quality)
        changed, verdicts = column(table, "text"), {}
        for row, spans in repeats(texts(table, ranked), min_words):
            row = int(ranked[row])
            gone = int((spans[:, 1] - spans[:, 0]).sum()) / len(changed[row])
            if 1 - gone < min_left:
                verdicts[row] = ("duplicate_paragraphs", f"{gone:.3f}")
            else:
                changed[row] = cut(changed[row], spans)
        return replace(drop(table, verdicts), "text", changed)

    return apply


def repeats(documents: list[str], min_words: int) -> list[tuple[int, np.ndarray]]:
    """Return (document, spans to cut) of each that repeats a paragraph of one before it."""
    found = [find_paragraphs(d, min_words) for d in documents]
    keys = np.concatenate([np.empty(0, np.uint64), *(f.keys for f in found)])
    spans = np.concatenate([np.empty((0, 2), np.int64), *(f.spans for f in found)])
    owners = np.repeat(np.arange(len(found)), [len(f.keys) for f in found])
    gone = later(keys, owners, spans[:, 0])
    owners, spans = owners[gone], spans[gone]
    some, first = np.unique(owners, return_index=True)
    return list(zip(some.tolist(), np.split(spans, first[1:]), strict=True)) if len(some) else []
