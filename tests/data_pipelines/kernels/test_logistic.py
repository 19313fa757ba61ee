"""Hashed features and the linear model on them, against plain loops and scikit-learn."""

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.kernels.hashed_ngrams import (
    dense_rows,
    document_weights,
    hash_ngrams,
    project,
    stack,
)
from data_pipelines.kernels.logistic import fit_logistic, predict

TEXTS = pa.array(["The cat, the dog.", "the dog the cat", "", None, "bird"], pa.large_string())


def dense(features):
    """Return the rows as a matrix, by a plain loop."""
    matrix = np.zeros((features.rows, features.columns))
    for row, column, value in zip(features.owners, features.buckets, features.values):
        matrix[row, column] += value
    return matrix


def test_counts_are_of_words_and_pairs_within_a_document():
    features = hash_ngrams(TEXTS, longest=2, buckets=1 << 18)
    assert np.bincount(features.owners, minlength=5).tolist() == [6, 6, 0, 0, 1]
    lengths = np.linalg.norm(dense(features), axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 0, 0, 1])
    values = features.values[features.owners == 0]
    assert max(values) / min(values) == pytest.approx(1 + np.log(2))     # "the" twice
    words = dense(hash_ngrams(TEXTS, longest=1, buckets=1 << 18))
    np.testing.assert_array_equal(words[0], words[1])       # order and case aside


def test_a_rows_features_and_score_depend_on_no_other_row():
    weights = np.random.default_rng(0).normal(size=1 << 10)
    whole = hash_ngrams(TEXTS, buckets=1 << 10).times(weights)
    alone = [hash_ngrams(TEXTS[i:i + 1], buckets=1 << 10).times(weights)[0] for i in range(5)]
    np.testing.assert_array_equal(whole, alone)


def test_products_are_those_of_the_dense_matrix():
    features = stack([hash_ngrams(TEXTS, buckets=64), hash_ngrams(TEXTS[:2], buckets=64)])
    draw = np.random.default_rng(1)
    weights, residuals = draw.normal(size=64), draw.normal(size=7)
    np.testing.assert_allclose(features.times(weights), dense(features) @ weights)
    np.testing.assert_allclose(features.transposed_times(residuals), residuals @ dense(features))


def test_projection_keeps_similarities():
    texts = pa.array([" ".join(f"w{j}" for j in range(i, i + 100)) for i in range(0, 100, 10)])
    features = hash_ngrams(texts, longest=1, buckets=1 << 16)
    rows = project(features, 1024, np.ones(1 << 16))
    exact = dense(features) @ dense(features).T
    np.testing.assert_allclose(rows @ rows.T, exact, atol=0.1)
    assert document_weights(features).argmin() in features.buckets


def test_weights_are_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(2)
    matrix = draw.normal(size=(300, 12))
    labels = matrix @ draw.normal(size=12) + draw.normal(size=300) > 1
    ours = fit_logistic(dense_rows(matrix), labels, l2=1e-2, iterations=500)
    theirs = linear_model.LogisticRegression(C=1 / (1e-2 * 300), class_weight="balanced", tol=1e-10,
                                             max_iter=1000).fit(matrix, labels)
    np.testing.assert_allclose(ours, [*theirs.coef_[0], *theirs.intercept_], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(predict(dense_rows(matrix), ours),
                               theirs.predict_proba(matrix)[:, 1], atol=1e-4)
