"""Measure how surprising documents are to an n-gram model of good text: head, middle or tail.

CCNet's measure (https://arxiv.org/abs/1911.00359), with a word model fitted in the recipe. Reads
and returns the table of documents, with columns `perplexity` (float32, a word) and
`perplexity_bucket` (string); null without words and where dropped before. Drops the buckets it is
told to, as "perplexity_<bucket>", with the perplexity as `detail`.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Fitted
from data_pipelines.fitted import Tensors, fitted, read_examples
from data_pipelines.kernels.ngram_model import fit_ngrams, perplexities
from data_pipelines.kernels.words import find_words
from data_pipelines.table import add_column, drop, kept
from ssljax.core.errors import ConfigError, DataError

ROWWISE = True
READS = ("train", "sample")
FITS = ("model",)
BUCKETS = ("head", "middle", "tail")


def make(*, train: str, sample: str, model: str, order: int = 3, vocabulary: int = 65_536,
         field: str = "text", cuts: Sequence[float] = (1 / 3, 2 / 3),
         drop_buckets: Sequence[str] = ()) -> Fitted:
    """Return the step; its model is fitted before it is used, where it is absent.

    Args:
        train: file or folder of good text, such as an encyclopaedia.
        sample: file or folder of documents such as this step is handed.
        model: file of the fitted model, .safetensors; read where it is there.
        order: words of the longest n-gram.
        vocabulary: most words that are told apart.
        field: of the examples' text.
        cuts: shares of the sample under the head's and under the middle's greatest perplexity;
            CCNet's thirds.
        drop_buckets: which of head, middle and tail are dropped.

    Raises:
        ConfigError: an unknown bucket, or cuts out of order.
    """
    if len(cuts) != 2 or not 0 < cuts[0] <= cuts[1] < 1 or set(drop_buckets) - set(BUCKETS) or (
            order < 1 or vocabulary < 1):
        raise ConfigError(f"perplexity: cuts {cuts}, drop_buckets {drop_buckets}, order {order}, "
                          f"vocabulary {vocabulary}; expected two rising shares between 0 and 1, "
                          f"buckets of {BUCKETS}, and at least 1.")
    settings: dict[str, Any] = dict(kind="perplexity", order=order, vocabulary=vocabulary,
                                    field=field, cuts=list(cuts))
    fit = functools.partial(fit_model, train, sample, order, vocabulary, field, cuts)
    load = functools.cache(lambda: fitted(model, settings, [train, sample], fit))

    def apply(table: pa.Table) -> pa.Table:
        rows, found = kept(table), load()
        words = find_words(table["text"].take(pa.array(rows)).combine_chunks())
        measured = perplexities(words, found)
        column = np.full(table.num_rows, np.nan, np.float32)
        column[rows] = measured
        buckets: list[str | None] = [None] * table.num_rows
        verdicts = {}
        for row, value in zip(rows.tolist(), measured.tolist(), strict=True):
            if np.isfinite(value):
                bucket = buckets[row] = BUCKETS[int(np.searchsorted(found["bounds"], value))]
                if bucket in drop_buckets:
                    verdicts[row] = (f"perplexity_{bucket}", f"{value:.1f}")
        table = add_column(table, "perplexity", pa.array(column, from_pandas=True))
        return drop(add_column(table, "perplexity_bucket", pa.array(buckets, pa.string())),
                    verdicts)

    return Fitted(load, apply)


def fit_model(train: str, sample: str, order: int, vocabulary: int, field: str,
              cuts: Sequence[float]) -> Tensors:
    """Return the n-gram model, and the bounds between buckets, float64 [2]."""
    words = find_words(read_examples(train, field).combine_chunks())
    if not len(words.hashes):
        raise DataError(f"Examples {train}: no word; expected text to fit a model to.")
    model = fit_ngrams(words, order=order, vocabulary=vocabulary)
    measured = perplexities(find_words(read_examples(sample, field).combine_chunks()), model)
    measured = measured[np.isfinite(measured)]
    if not len(measured):
        raise DataError(f"Examples {sample}: no word; expected documents to set the bounds by.")
    return {**model, "bounds": np.quantile(measured, list(cuts))}
