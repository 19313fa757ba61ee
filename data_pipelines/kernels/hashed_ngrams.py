"""Documents as hashed counts of word n-grams: what linear models and topics are fitted to.

The hashing trick (Weinberger et al. 2009, https://arxiv.org/abs/0902.2206) needs no vocabulary, so
that the same text has the same features in every worker. Counts enter as 1 + log(count), and each
document has length one, so that long documents do not outweigh others. Reads an Arrow array of
strings, returns NumPy arrays.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from data_pipelines.kernels.words import find_words, mix


class Features(NamedTuple):
    """Sparse rows, end to end.

    buckets: int64 [total], the column of each value
    values:  float64 [total]
    owners:  int64 [total], the row of each value, ascending
    rows:    number of documents
    columns: number of columns
    """

    buckets: np.ndarray
    values: np.ndarray
    owners: np.ndarray
    rows: int
    columns: int

    def times(self, weights: np.ndarray) -> np.ndarray:
        """Return each row's product with weights [columns], float64 [rows].

        A row's terms are added in their own order: its result depends on no other row.
        """
        return np.bincount(self.owners, self.values * weights[self.buckets], self.rows)

    def transposed_times(self, residuals: np.ndarray) -> np.ndarray:
        """Return the product of the transpose with residuals [rows], float64 [columns]."""
        return np.bincount(self.buckets, self.values * residuals[self.owners],
                           self.columns)


def hash_ngrams(texts: pa.Array, *, longest: int = 2, buckets: int = 1 << 18) -> Features:
    """Return the hashed n-grams of 1 to `longest` words of each text, rows of length one.

    Args:
        texts: strings; null has no features.
        longest: words of the longest n-gram.
        buckets: columns, a power of two.
    """
    words = find_words(texts)
    owners = np.repeat(np.arange(len(texts)), np.diff(words.starts))
    hashes, of, run = [words.hashes], [owners], words.hashes
    for n in range(1, longest):
        run = mix(run[:-1] * np.uint64(0x9E3779B97F4A7C15) + words.hashes[n:])
        inside = owners[:len(run)] == owners[n:]
        hashes.append(run[inside])
        of.append(owners[:len(run)][inside])
    columns = (np.concatenate(hashes) & np.uint64(buckets - 1)).astype(np.int64)
    keys, counts = np.unique(np.concatenate(of) * buckets + columns, return_counts=True)
    return unit_rows(Features(keys % buckets, 1 + np.log(counts), keys // buckets, len(texts),
                              buckets))


def dense_rows(matrix: np.ndarray) -> Features:
    """Return float [rows, D], such as embeddings, as Features."""
    rows, width = matrix.shape
    return Features(np.tile(np.arange(width), rows), matrix.astype(np.float64).ravel(),
                    np.repeat(np.arange(rows), width), rows, width)


def unit_rows(features: Features) -> Features:
    """Return the features with each row scaled to Euclidean length one; empty rows stay empty."""
    squares = np.bincount(features.owners, features.values**2, features.rows)
    lengths = np.sqrt(np.maximum(squares, 1e-300))
    return features._replace(values=features.values / lengths[features.owners])


def stack(parts: list[Features]) -> Features:
    """Return the rows of several features one after another."""
    starts = np.cumsum([0, *(p.rows for p in parts)])
    return Features(np.concatenate([p.buckets for p in parts]),
                    np.concatenate([p.values for p in parts]),
                    np.concatenate([p.owners + s for p, s in zip(parts, starts)]), int(starts[-1]),
                    parts[0].columns)


def project(features: Features, width: int, inverse_frequency: np.ndarray) -> np.ndarray:
    """Return dense rows of length one, float64 [rows, width]: each bucket in one signed column.

    Products of rows keep their expectation (Weinberger et al. 2009, section 2).

    Args:
        features: sparse rows.
        width: columns, a power of two.
        inverse_frequency: weight of each bucket, float64 [buckets].
    """
    drawn = mix(features.buckets.astype(np.uint64) + np.uint64(0x632BE59BD9B4E019))
    column = (drawn & np.uint64(width - 1)).astype(np.int64)
    sign = 1.0 - 2.0 * (drawn >> np.uint64(63)).astype(np.float64)
    values = features.values * inverse_frequency[features.buckets] * sign
    dense = np.bincount(features.owners * width + column, values, features.rows * width)
    dense = dense.reshape(features.rows, width)
    return dense / np.maximum(np.sqrt((dense**2).sum(axis=1, keepdims=True)), 1e-12)


def document_weights(features: Features) -> np.ndarray:
    """Return log inverse document frequencies, float64 [columns]."""
    counts = np.bincount(features.buckets, minlength=features.columns)
    return np.log((1 + features.rows) / (1 + counts))
