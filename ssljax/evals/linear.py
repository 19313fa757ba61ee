"""Linear probe on frozen features: multinomial logistic regression on a few labels.

Features are precomputed and standardised, and the strength of L2 is chosen by cross-validation
within the labelled training examples, never on test images (Kornblith et al. 2019,
https://arxiv.org/abs/1805.08974). Reads records with image and label; returns the accuracy of the
method's features, raw pixels and a random network.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from ssljax.core.source import Record, Source
from ssljax.core.types import Evaluator, Example, Model, Objective
from ssljax.evals.features import few_label_evaluator

STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FOLDS = 5


def fit(x: np.ndarray, labels: np.ndarray, *, classes: int, l2: float,
        start: np.ndarray | None = None) -> np.ndarray:
    """Return weights float64 [D + 1, classes], the bias last.

    Minimises the mean cross-entropy plus l2 / 2 times the squared weights; the bias is free. By
    Newton's method with conjugate gradients: SciPy's L-BFGS-B took 7 ms an iteration, fifty times
    as long, because its small LAPACK calls start threads that wait for busy cores.

    Args:
        x: float64 [n, D].
        labels: int64 [n].
        classes: number of classes.
        l2: strength.
        start: weights to start from; zeros unless told.
    """
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    hot, shape = np.eye(classes)[labels], (x.shape[1], classes)
    ridge = np.full((shape[0], 1), l2)
    ridge[-1] = 0

    def value_and_grad(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(shape)
        log_p = log_softmax(x @ w, axis=1)
        grad = x.T @ (np.exp(log_p) - hot) / len(x) + ridge * w
        return np.sum(ridge * w**2) / 2 - np.sum(hot * log_p) / len(x), grad.ravel()

    def curvature(flat: np.ndarray, direction: np.ndarray) -> np.ndarray:
        w, v = flat.reshape(shape), direction.reshape(shape)
        p, moved = softmax(x @ w, axis=1), x @ v
        moved = p * (moved - np.sum(p * moved, axis=1, keepdims=True))
        return (x.T @ moved / len(x) + ridge * v).ravel()

    start = np.zeros(shape) if start is None else start
    return minimize(value_and_grad, start.ravel(), jac=True, hessp=curvature,
                    method="Newton-CG").x.reshape(shape)


def logits(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the scores [n, classes] of rows x [n, D]."""
    return x @ weights[:-1] + weights[-1]


def choose_l2(x: np.ndarray, labels: np.ndarray, *, classes: int) -> float:
    """Return the strength under which held-out folds have the least cross-entropy.

    Not the most hits: a hundred labels leave many strengths with equal hits. Folds hold every
    class alike: an example's fold is its rank within its class, modulo their number.
    """
    rank = np.array([np.sum(labels[:i] == label) for i, label in enumerate(labels)])
    fold = rank % min(FOLDS, rank.max() + 1)
    nats = np.zeros(len(STRENGTHS))
    for held in np.unique(fold):
        rest, weights = fold != held, None
        for i, l2 in enumerate(STRENGTHS):
            weights = fit(x[rest], labels[rest], classes=classes, l2=l2, start=weights)
            log_p = log_softmax(logits(weights, x[~rest]), axis=1)
            nats[i] -= np.sum(np.take_along_axis(log_p, labels[~rest, None], axis=1))
    return STRENGTHS[int(np.argmin(nats))]


def probe(known: np.ndarray, labels: np.ndarray, labelled: np.ndarray, asked: np.ndarray,
          ) -> np.ndarray:
    """Return the classes int64 [t] of `asked` [t, D], learnt from the labelled rows of `known`.

    Mean and spread are those of all training features [n, D]: they need no labels. A constant
    feature stays zero.
    """
    mean, std = known.mean(axis=0, dtype=np.float64), known.std(axis=0, dtype=np.float64)
    scale = np.where(std > 1e-6, std, np.inf)
    x, targets = (known[labelled] - mean) / scale, labels[labelled]
    classes = int(targets.max()) + 1
    weights = fit(x, targets, classes=classes, l2=choose_l2(x, targets, classes=classes))
    return np.argmax(logits(weights, (asked - mean) / scale), axis=1)


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
        labels_per_class: labelled examples of each class.
        draws: choices of labelled examples; their spread is the interval.
        batch_size: images encoded at once.
        every: steps between judgements during training; 0 means only when asked.
    """
    return few_label_evaluator(
        objective, probe, name="linear", model=model, plain=plain, train_source=train_source,
        test_source=test_source, labels_per_class=labels_per_class, draws=draws,
        batch_size=batch_size, every=every)
