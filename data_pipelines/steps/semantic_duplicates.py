"""Drop documents that mean what a better one means, by a column of embeddings.

Any embedding serves: of text, images or sound, made by a step before or by a model in batch.
Reads and returns the table of documents, the same for any order of rows; `detail` is "<survivor's
id> <cosine>" and `cluster` the survivor's. Rows without an embedding repeat nothing.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.kernels import semantic
from data_pipelines.survivors import rank, require
from data_pipelines.table import Step, column, drop, replace
from ssljax.core.errors import ConfigError, DataError


def make(*, embedding: str = "embedding", at_least: float = 0.95, per_cluster: int = 1000,
         seed: int = 0, quality: str = "") -> Step:
    """Return the step.

    Args:
        embedding: column of lists of numbers, all of one length.
        at_least: cosine similarity from which a document is a copy; depends on the embedding.
        per_cluster: documents of a cluster on average; fewer are faster and find less.
        seed: of k-means.
        quality: column of numbers by which survivors are preferred; empty: length and id decide.

    Raises:
        ConfigError: settings that cannot be.
    """
    if not 0 < at_least <= 1 or per_cluster < 1:
        raise ConfigError(f"semantic_duplicates: at_least {at_least}, per_cluster {per_cluster}; "
                          "expected a cosine from 0 to 1, and at least 1 document.")

    def apply(table: pa.Table) -> pa.Table:
        ranked = rank(table, quality)
        values = require(table, embedding).take(pa.array(ranked, pa.int64()))
        ranked = ranked[values.is_valid().to_numpy()]
        if not len(ranked):
            return table
        rows = semantic.unit(matrix(values.drop_null(), embedding))
        clusters = -(-len(rows) // per_cluster)
        nearest = semantic.assign(rows, semantic.centroids(rows, clusters, seed=seed))
        ids, named = column(table, "id"), column(table, "cluster")
        verdicts = {}
        for cluster in range(clusters):
            some = np.flatnonzero(nearest == cluster)
            survivor = some[semantic.representatives(rows[some], at_least)]
            for r, s in zip(some[survivor != some], survivor[survivor != some], strict=True):
                verdicts[int(ranked[r])] = ("semantic_duplicate",
                                            f"{ids[ranked[s]]} {rows[r] @ rows[s]:.3f}")
                named[ranked[r]] = named[ranked[s]]
        return replace(drop(table, verdicts), "cluster", named)

    return apply


def matrix(values: pa.ChunkedArray, name: str) -> np.ndarray:
    """Return a column of lists as float32 [n, E].

    Raises:
        DataError: lists of different lengths, or of none.
    """
    sizes = pc.list_value_length(values).to_numpy()
    if len(set(sizes.tolist())) != 1 or not sizes[0]:
        raise DataError(f'Embeddings of column "{name}" have {sizes.min()} to {sizes.max()} '
                        "numbers; expected as many in each, made by one model.")
    flat = pc.list_flatten(values).cast(pa.float32())
    return flat.to_numpy().reshape(-1, int(sizes[0]))
