"""Keep the documents that a linear classifier takes for those given as good.

The classifier of GPT-3, DCLM and FineWeb-Edu (https://arxiv.org/abs/2005.14165,
https://arxiv.org/abs/2406.11794): logistic regression on hashed words and pairs of words, or on a
column of embeddings. Reads and returns the table of documents, with a column `quality` (float32,
the probability of a good example); drops "low_quality", and `detail` is the score and the bound.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Fitted
from data_pipelines.fitted import Tensors, fitted, read_examples
from data_pipelines.kernels.hashed_ngrams import Features, dense_rows, hash_ngrams, stack
from data_pipelines.kernels.logistic import fit_logistic, predict
from data_pipelines.table import add_column, drop, kept
from ssljax.core.errors import ConfigError, DataError

ROWWISE = True
READS = ("positives", "negatives", "sample")
FITS = ("model",)


def make(*, positives: str, negatives: str, model: str, keep: float = 0.0, sample: str = "",
         threshold: float = 0.0, field: str = "text", longest: int = 2, buckets: int = 1 << 18,
         l2: float = 1e-5) -> Fitted:
    """Return the step; its model is fitted before it is used, where it is absent.

    Args:
        positives: file or folder of good examples: .jsonl(.gz), .parquet, .txt, .md.
        negatives: the same of ordinary ones.
        model: file of the fitted model, .safetensors; read where it is there.
        keep: share of `sample` that the bound keeps; 0 leaves the bound to `threshold`.
        sample: file or folder of documents such as this step is handed.
        threshold: least probability of a document that is kept; 0 scores and drops nothing.
        field: of examples and column of the table; lists of numbers are embeddings.
        longest: words of the longest n-gram.
        buckets: columns that n-grams are hashed to, a power of two.
        l2: penalty of the weights; more is smoother.

    Raises:
        ConfigError: a bound given twice or without a sample, or buckets no power of two.
    """
    if not 0 <= keep <= 1 or bool(keep) != bool(sample) or keep and threshold:
        raise ConfigError(f"quality_classifier: keep {keep}, sample {sample!r}, threshold "
                          f"{threshold}; expected a share with its sample, or a threshold.")
    if buckets < 2 or buckets & (buckets - 1):
        raise ConfigError(f"quality_classifier: buckets {buckets}; expected a power of two.")
    settings: dict[str, Any] = dict(kind="quality_classifier", keep=keep, field=field,
                                    longest=longest, buckets=buckets, l2=l2)
    represent = functools.partial(features_of, longest=longest, buckets=buckets)
    fit = functools.partial(fit_classifier, positives, negatives, sample, keep, field, l2,
                            represent)
    examples = [positives, negatives, *([sample] if sample else [])]
    load = functools.cache(lambda: fitted(model, settings, examples, fit))

    def apply(table: pa.Table) -> pa.Table:
        rows, found = kept(table), load()
        scores = score(represent(table[field].take(pa.array(rows))), found["weights"])
        bound = threshold or float(found["threshold"][0])
        column = np.full(table.num_rows, np.nan, np.float32)
        column[rows] = scores
        verdicts = {int(row): ("low_quality", f"{value:.4f} < {bound:.4f}")
                    for row, value in zip(rows, scores, strict=True) if value < bound}
        return drop(add_column(table, "quality", pa.array(column, from_pandas=True)), verdicts)

    return Fitted(load, apply)


def fit_classifier(positives: str, negatives: str, sample: str, keep: float, field: str, l2: float,
                   represent: Callable[[pa.ChunkedArray], Features]) -> Tensors:
    """Return weights, float64 [columns + 1], and the bound, float64 [1]."""
    good, ordinary = (represent(read_examples(p, field)) for p in (positives, negatives))
    both = stack([good, ordinary])
    weights = fit_logistic(both, np.arange(both.rows) < good.rows, l2=l2)
    bound = 0.0
    if sample:
        scores = score(represent(read_examples(sample, field)), weights)
        bound = float(np.quantile(scores, 1 - keep, method="higher"))
    return {"weights": weights, "threshold": np.array([bound])}


def score(features: Features, weights: np.ndarray) -> np.ndarray:
    """Return probabilities; raise DataError where embeddings are not as wide as the model's."""
    if features.columns != len(weights) - 1:
        raise DataError(f"quality_classifier: embeddings of {features.columns} numbers; the model "
                        f"was fitted on {len(weights) - 1}.")
    return predict(features, weights)


def features_of(values: pa.ChunkedArray, *, longest: int, buckets: int) -> Features:
    """Return the features of texts, or of embeddings, which are lists of numbers."""
    array = values.combine_chunks()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return hash_ngrams(array, longest=longest, buckets=buckets)
    return dense_rows(embeddings(array))


def embeddings(array: pa.Array) -> np.ndarray:
    """Return lists of numbers as float64 [rows, D].

    Raises:
        DataError: a null, or lists of different lengths.
    """
    flat = np.asarray(array.flatten(), np.float64)
    width = len(flat) // max(1, len(array))
    if array.null_count or any(len(row) != width for row in array):
        raise DataError("quality_classifier: embeddings are null or of different lengths; expected "
                        "one list of numbers a document, all equally long.")
    return flat.reshape(len(array), width)
