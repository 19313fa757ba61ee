"""Weighted k-nearest neighbours on frozen features, Wu et al. 2018, https://arxiv.org/abs/1805.01978.

Cosine similarity, votes exp(cos / temperature), as in the evaluation of DINO (Caron et al. 2021,
https://arxiv.org/abs/2104.14294). Nothing is trained or tuned. Reads records with image and label;
returns the accuracy of the method's features, raw pixels and a random network.
"""

from collections.abc import Callable

import numpy as np

from ssljax.core.source import Record, Source
from ssljax.core.types import Evaluator, Example, Model, Objective
from ssljax.evals.features import few_label_evaluator


def vote(bank: np.ndarray, labels: np.ndarray, queries: np.ndarray, *, k: int, temperature: float,
         ) -> np.ndarray:
    """Return the class with most votes among the k nearest, int64 [t].

    Args:
        bank: features [m, D] of the labelled examples.
        labels: int64 [m].
        queries: features [t, D].
        k: neighbours that vote, at most all.
        temperature: small ones make the nearest count most.
    """
    bank, queries = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
                     for x in (bank.astype(np.float64), queries.astype(np.float64)))
    cosine = queries @ bank.T
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    weights = np.exp(np.take_along_axis(cosine, nearest, axis=1) / temperature)
    votes = np.zeros((len(queries), labels.max() + 1))
    np.add.at(votes, (np.arange(len(queries))[:, None], labels[nearest]), weights)
    return np.argmax(votes, axis=1)


def make(objective: Objective, *, model: Model, plain: Callable[[Record], Example],
         train_source: Source, test_source: Source, labels_per_class: int = 10, draws: int = 5,
         batch_size: int = 256, every: int = 0, k: int = 20, temperature: float = 0.07,
         ) -> Evaluator:
    """Return the evaluator.

    Args:
        objective: says which parameters the method evaluates with.
        model: reads image, returns pooled.
        plain: the pretext's deterministic transform.
        train_source: holds the labelled examples.
        test_source: what is classified.
        labels_per_class: labelled examples of each class.
        draws: choices of labelled examples; their spread is the interval.
        batch_size: images encoded at once.
        every: steps between judgements during training; 0 means only when asked.
        k: neighbours that vote.
        temperature: of the votes.
    """
    def classify(known: np.ndarray, labels: np.ndarray, labelled: np.ndarray, asked: np.ndarray,
                 ) -> np.ndarray:
        return vote(known[labelled], labels[labelled], asked, k=k, temperature=temperature)

    return few_label_evaluator(
        objective, classify, name="knn", model=model, plain=plain, train_source=train_source,
        test_source=test_source, labels_per_class=labels_per_class, draws=draws,
        batch_size=batch_size, every=every)
