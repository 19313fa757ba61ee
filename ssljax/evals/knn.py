"""Weighted k-nearest neighbours on frozen features, Wu et al. 2018, https://arxiv.org/abs/1805.01978.

Nothing is trained or tuned. The defaults are those of DINO (Caron et al. 2021,
https://arxiv.org/abs/2104.14294): features of the evaluation transform, for examples and queries
alike, of length one; the 20 nearest vote exp(cosine / 0.07). Published tables differ in this:

    DINO         k=20 (10, 100 and 200 beside it), temperature=0.07
    lightly      k=200, temperature=0.1, or DINO's
    solo-learn   k=20, distance="euclidean"; its bank are augmented training images

Reads records with image and label; returns the accuracy of the method's features, raw pixels and
an untrained network.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from ssljax.core.source import Record, Source
from ssljax.core.types import Evaluator, Example, Model, Objective
from ssljax.evals.labels import label_evaluator

Distance = Literal["cosine", "euclidean"]
BLOCK = 2**25           # similarities held at once: 200 MB with their sorted indices
EPSILON = 1e-5          # of the votes by Euclidean distance


def similarities(bank: np.ndarray, queries: np.ndarray, distance: Distance) -> np.ndarray:
    """Return what neighbours are ranked by, [t, m]: cosines of unit rows, or minus distances."""
    inner = queries @ bank.T
    if distance == "cosine":
        return inner
    lengths = np.sum(queries**2, axis=1)[:, None] + np.sum(bank**2, axis=1)
    return -np.sqrt(np.maximum(lengths - 2 * inner, 0))


def vote(bank: np.ndarray, labels: np.ndarray, queries: np.ndarray, *, k: int, temperature: float,
         distance: Distance = "cosine") -> np.ndarray:
    """Return the class with most votes among the k nearest, int64 [t].

    Args:
        bank: features [m, D] of the labelled examples.
        labels: int64 [m].
        queries: features [t, D].
        k: neighbours that vote, at most all.
        temperature: small ones make the nearest count most; of cosines only.
        distance: votes are exp(cosine / temperature), or 1 / distance.
    """
    if distance == "cosine":
        bank, queries = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
                         for x in (bank, queries))
    k, rows = min(k, len(bank)), max(1, BLOCK // len(bank))
    answers = []
    for start in range(0, len(queries), rows):
        near = similarities(bank, queries[start:start + rows], distance)
        # A partition is ten times as fast as a sort of 10,000; votes do not depend on the order.
        nearest = np.argpartition(-near, k - 1, axis=1)[:, :k]
        best = np.take_along_axis(near, nearest, axis=1)
        # Shifting by the best of a query scales all its votes alike and cannot overflow.
        weights = (np.exp((best - best.max(axis=1, keepdims=True)) / temperature)
                   if distance == "cosine" else 1 / (EPSILON - best))
        votes = np.zeros((len(near), labels.max() + 1))
        np.add.at(votes, (np.arange(len(near))[:, None], labels[nearest]), weights)
        answers.append(np.argmax(votes, axis=1))
    return np.concatenate(answers)


def make(objective: Objective, *, model: Model, plain: Callable[[Record], Example],
         train_source: Source, test_source: Source, labels_per_class: int = 10, draws: int = 5,
         batch_size: int = 256, every: int = 0, k: int = 20, temperature: float = 0.07,
         distance: Distance = "cosine") -> Evaluator:
    """Return the evaluator.

    Args:
        objective: says which parameters the method evaluates with.
        model: reads image, returns pooled.
        plain: the pretext's deterministic transform.
        train_source: holds the labelled examples.
        test_source: what is classified.
        labels_per_class: labelled examples of each class; 0 takes every label of train_source.
        draws: choices of few labelled examples; their spread is the interval.
        batch_size: images encoded at once.
        every: steps between judgements during training; 0 means only when asked.
        k: neighbours that vote.
        temperature: of the votes.
        distance: what neighbours are near by.
    """
    def classify(known: np.ndarray, labels: np.ndarray, labelled: np.ndarray, asked: np.ndarray,
                 ) -> np.ndarray:
        return vote(known[labelled], labels[labelled], asked, k=k, temperature=temperature,
                    distance=distance)

    return label_evaluator(
        objective, classify, name="knn", model=model, plain=plain, train_source=train_source,
        test_source=test_source, labels_per_class=labels_per_class, draws=draws,
        batch_size=batch_size, every=every)
