"""Drop documents that hold items of evaluation sets, verbatim or with words edited.

Case, spacing and punctuation do not count, and a fifth of an item's words may differ; how is in
data_pipelines/kernels/contamination.py, what it finds of planted items in
`python tools/bench/curate_decontaminate.py`. Reads and returns the table of documents; `detail` is
"<set>:<line> <share of the item's words> <items found>", of the item that is most whole. The
version of a recipe with this step keeps what it found of items planted into its own documents.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from data_pipelines.evaluation_sets import Items, read_items
from data_pipelines.kernels.contamination import Hits, build_index, find_items
from data_pipelines.kernels.planted import planted_recall
from data_pipelines.table import Step, drop, kept
from ssljax.core.errors import ConfigError

ROWWISE = True
READS = ("evals",)
PLANTED = 1000                 # items of each edit that `measure_recall` plants


def make(*, evals: tuple[str, ...], at_least: float = 0.75, min_words: int = 8) -> Step:
    """Return the step; it reads the evaluation sets now and holds 32 bytes a word of them.

    Args:
        evals: .jsonl files, or folders of such.
        at_least: share of an item's words, in order and in one place, that make it a leak.
        min_words: items shorter than that are phrases of the language and not searched for.

    Raises:
        ConfigError: a share that every document or none would have, or no evaluation set named.
        DataError: an evaluation set cannot be read.
    """
    if not 0.5 <= at_least <= 1 or not evals:
        raise ConfigError(f"decontaminate: at_least {at_least}, evals {evals!r}; expected a share "
                          "from 0.5 to 1, and at least one .jsonl file or folder of such files.")
    items = all_items(evals)
    index = build_index(pa.array(items.texts, pa.large_string()), min_words)

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table)
        documents = table["text"].take(pa.array(rows, pa.int64())).combine_chunks()
        return drop(table, verdicts(find_items(index, documents, at_least), rows, items))

    return apply


def measure_recall(documents: Sequence[str], *, evals: tuple[str, ...], at_least: float = 0.75,
                   min_words: int = 8) -> dict[str, Any]:
    """Return what this step finds of items planted into documents that it kept.

    Returns:
        "planted": items of each edit; "short": items under `min_words`; "recall": edit -> set, or
        "all" -> share of the planted items found.
    """
    items = all_items(evals)
    index = build_index(pa.array(items.texts, pa.large_string()), min_words)
    enough = int((index.enough > 0).sum())
    recall = planted_recall(index, items.texts, items.sets(), documents, at_least=at_least,
                            count=PLANTED) if documents and enough else {}
    return {"planted": min(PLANTED, enough), "short": len(items.texts) - enough, "recall": recall}


def all_items(evals: Sequence[str]) -> Items:
    """Return the items of several files and folders."""
    read = [read_items(path) for path in evals]
    return Items(*(sum(field, ()) for field in zip(*read, strict=True)))


def verdicts(hits: Hits, rows: np.ndarray, items: Items) -> dict[int, tuple[str, str]]:
    """Return the reason and detail of each document that holds an item."""
    order = np.lexsort((hits.items, -hits.scores, hits.documents))
    documents, first, counts = np.unique(hits.documents[order], return_index=True,
                                         return_counts=True)
    best = order[first]
    return {int(rows[d]): ("contaminated", f"{items.names[hits.items[b]]} {hits.scores[b]:.2f} {n}")
            for d, b, n in zip(documents.tolist(), best.tolist(), counts.tolist(), strict=True)}
