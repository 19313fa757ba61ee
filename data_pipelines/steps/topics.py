"""Give each document a topic: a class learned from labelled examples, or a cluster of a sample.

Hashed words and pairs of words; classes by logistic regression of one against the rest, clusters by
k-means on their signed projection. Reads and returns the table of documents, with a column `topic`
(string; clusters are "topic_00", "topic_01", ... from the largest) and, for classes, `topic_score`
(float32, the probability of the class against the rest). Null where dropped before.
"""

import functools
from typing import Any

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Fitted
from data_pipelines.fitted import Tensors, fitted, read_examples
from data_pipelines.kernels.hashed_ngrams import document_weights, hash_ngrams, project
from data_pipelines.kernels.k_means import assign, fit_centres
from data_pipelines.kernels.logistic import fit_logistic, sigmoid
from data_pipelines.table import add_column, kept
from ssljax.core.errors import ConfigError, DataError

ROWWISE = True
READS = ("labelled", "sample")
FITS = ("model",)
WIDTH = 256                    # columns of the projection: cosines within about 1 / sqrt(WIDTH)


def make(*, model: str, labelled: str = "", sample: str = "", clusters: int = 24,
         field: str = "text", label: str = "label", buckets: int = 1 << 16,
         seed: int = 0) -> Fitted:
    """Return the step; its model is fitted before it is used, where it is absent.

    Args:
        model: file of the fitted model, .safetensors; read where it is there.
        labelled: file or folder of examples with labels, for classes; or
        sample: file or folder of documents such as this step is handed, for clusters.
        clusters: how many; dolma 3 and WebOrganizer have 24 topics.
        field: of the examples' text.
        label: of the examples' class.
        buckets: columns that n-grams are hashed to, a power of two.
        seed: of the first centres.

    Raises:
        ConfigError: neither or both of labelled and sample.
    """
    if bool(labelled) == bool(sample) or clusters < 2 or buckets < 2 or buckets & (buckets - 1):
        raise ConfigError(f"topics: labelled {labelled!r}, sample {sample!r}, clusters {clusters}, "
                          f"buckets {buckets}; expected one of labelled and sample, at least 2 "
                          "clusters, and a power of two.")
    settings: dict[str, Any] = dict(kind="topics", clusters=clusters, field=field, label=label,
                                    buckets=buckets, seed=seed)
    fit = (functools.partial(fit_classes, labelled, field, label, buckets) if labelled else
           functools.partial(fit_clusters, sample, field, buckets, clusters, seed))
    load = functools.cache(lambda: fitted(model, settings, [labelled or sample], fit))

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table)
        texts = table["text"].take(pa.array(rows)).combine_chunks()
        found, scores = classify(texts, load(), buckets)
        topics: list[str | None] = [None] * table.num_rows
        for row, topic in zip(rows, found, strict=True):
            topics[row] = topic
        table = add_column(table, "topic", pa.array(topics, pa.string()))
        if scores is None:
            return table
        column = np.full(table.num_rows, np.nan, np.float32)
        column[rows] = scores
        return add_column(table, "topic_score", pa.array(column, from_pandas=True))

    return Fitted(load, apply)


def classify(texts: pa.Array, model: Tensors,
             buckets: int) -> tuple[list[str], np.ndarray | None]:
    """Return the topic of each text, and its probability where topics are classes."""
    features = hash_ngrams(texts, buckets=buckets)
    if "centres" in model:
        near = assign(project(features, WIDTH, model["inverse_frequency"]), model["centres"])
        return [f"topic_{k:02d}" for k in near], None
    names = bytes(model["names"]).decode().split("\n")
    margins = np.stack([features.times(w[:-1]) + w[-1] for w in model["weights"]], axis=1)
    best = margins.argmax(axis=1)
    return [names[k] for k in best], sigmoid(margins.max(axis=1))


def fit_classes(labelled: str, field: str, label: str, buckets: int) -> Tensors:
    """Return the names of classes, sorted, and weights, float64 [classes, buckets + 1]."""
    features = hash_ngrams(read_examples(labelled, field).combine_chunks(), buckets=buckets)
    labels = np.array([str(v) for v in read_examples(labelled, label).to_pylist()])
    names = sorted(set(labels.tolist()))
    if len(names) < 2 or any("\n" in n for n in names):
        raise DataError(f"Examples {labelled}: {len(names)} classes in {label!r}; expected at "
                        "least 2, with no line feed in their names.")
    return {"names": np.frombuffer("\n".join(names).encode(), np.uint8),
            "weights": np.stack([fit_logistic(features, labels == n) for n in names])}


def fit_clusters(sample: str, field: str, buckets: int, clusters: int, seed: int) -> Tensors:
    """Return centres, float64 [clusters, WIDTH], and weights of buckets, float64 [buckets]."""
    features = hash_ngrams(read_examples(sample, field).combine_chunks(), buckets=buckets)
    inverse_frequency = document_weights(features)
    rows = project(features, WIDTH, inverse_frequency)
    return {"centres": fit_centres(rows[np.any(rows, axis=1)], clusters, seed=seed),
            "inverse_frequency": inverse_frequency}
