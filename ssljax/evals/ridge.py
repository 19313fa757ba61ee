"""Few-label ridge regression in closed form: cheap enough to judge by while a run trains.

Features are standardised and regressed onto +1 for the own class and -1 for all others, as in the
few-shot evaluation of Big Vision (Kolesnikov et al. 2020, https://arxiv.org/abs/1912.11370,
section 3.3, and its released code). One eigen-decomposition serves the whole grid of L2, and gives
the error of every labelled example when it alone is left out (Allen 1974,
https://doi.org/10.1080/00401706.1974.10489157): L2 is chosen by that, never on test images. Reads
records with image and label; returns the accuracy of the method's features, raw pixels and an
untrained network.
"""

from collections.abc import Callable

import numpy as np

from ssljax.core.source import Record, Source
from ssljax.core.types import Evaluator, Example, Model, Objective
from ssljax.evals.labels import label_evaluator, principal, standardiser

# Relative to the mean squared length of a row: the same grid for few features and many.
STRENGTHS = tuple(4.0**power for power in range(-10, 6))


def solve(x: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights [D, C] and bias [C] of the ridge regression with the least left-out error.

    Args:
        x: float64 [n, D].
        targets: float64 [n, C].
    """
    centre, middle = x.mean(axis=0), targets.mean(axis=0)
    directions = principal(x - centre)
    left = (x - centre) @ directions
    singular = np.sqrt(np.sum(left**2, axis=0))
    left, target = left / singular, targets - middle
    inner, scale = left.T @ target, np.sum(singular**2) / len(x)
    best, chosen = np.inf, np.zeros_like(singular)
    for strength in STRENGTHS:
        kept = singular**2 / (singular**2 + strength * scale)
        # The mean takes a degree of freedom as well: 1 / n of every example's leverage.
        leverage = (left**2) @ kept + 1 / len(x)
        missed = (target - left @ (kept[:, None] * inner)) / np.maximum(1 - leverage, 1e-9)[:, None]
        error = np.sum(missed**2)
        if error < best:
            best, chosen = error, kept / singular
    weights = directions @ (chosen[:, None] * inner)
    return weights, middle - centre @ weights


def regress(known: np.ndarray, labels: np.ndarray, labelled: np.ndarray, asked: np.ndarray,
            ) -> np.ndarray:
    """Return the classes int64 [t] of `asked` [t, D], learnt from the labelled rows of `known`."""
    standard = standardiser(known)
    targets = 2 * np.eye(labels[labelled].max() + 1)[labels[labelled]] - 1
    weights, bias = solve(standard(known[labelled]), targets)
    return np.argmax(standard(asked) @ weights + bias, axis=1)


def make(objective: Objective, *, model: Model, plain: Callable[[Record], Example],
         train_source: Source, test_source: Source, labels_per_class: int = 10, draws: int = 5,
         batch_size: int = 256, every: int = 0) -> Evaluator:
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
    """
    return label_evaluator(
        objective, regress, name="ridge", model=model, plain=plain, train_source=train_source,
        test_source=test_source, labels_per_class=labels_per_class, draws=draws,
        batch_size=batch_size, every=every)
