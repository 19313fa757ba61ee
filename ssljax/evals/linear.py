"""Linear probe on frozen features: multinomial logistic regression, with few labels or with all.

Features are precomputed and standardised, and the strength of L2 is chosen within the labelled
training examples, never on test images (Kornblith et al. 2019, https://arxiv.org/abs/1805.08974):
by cross-validation where they are few, on a tenth of them held out where they are many. Reads
records with image and label; returns the accuracy of the method's features, raw pixels and an
untrained network. 10,000 examples of 512 features take 7 s on one CPU core, of 3,072 about 100 s.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from ssljax.core.source import Record, Source
from ssljax.core.types import Evaluator, Example, Model, Objective
from ssljax.evals.labels import label_evaluator, principal, standardiser

# From strong to weak: each fit starts from the one before.
STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4)
FOLDS = 5
MANY = 2000           # labelled examples from which on one tenth is enough to choose by
WORSE = 2             # strengths in a row that do worse than the best end the search


def fit(x: np.ndarray, labels: np.ndarray, *, classes: int, l2: float,
        start: np.ndarray | None = None) -> np.ndarray:
    """Return weights float64 [D + 1, classes], the bias last.

    Minimises the mean cross-entropy plus l2 / 2 times the squared weights; the bias is free. By
    Newton's method with conjugate gradients, preconditioned by the curvature that uncorrelated
    columns have where all classes are equally likely (Bohning 1992,
    https://doi.org/10.1007/BF00048682). SciPy's L-BFGS-B took 7 ms an iteration on a hundred
    examples, fifty times as long: its small LAPACK calls start threads that wait for busy cores.

    Args:
        x: [n, D], best with uncorrelated columns; float32 halves the time of large products,
            everything else is float64.
        labels: int64 [n].
        classes: number of classes.
        l2: strength.
        start: weights to start from; zeros unless told.
    """
    ridge = np.append(np.full(x.shape[1], l2), 0.0)[:, None]
    square = np.append(np.mean(x**2, axis=0, dtype=np.float64), 1.0)[:, None]
    scale = np.sqrt(square * (1 - 1 / classes) / classes + ridge)
    hot, shape = np.eye(classes)[labels], scale.shape[:1] + (classes,)

    def product(w: np.ndarray) -> np.ndarray:
        return x @ w[:-1].astype(x.dtype) + w[-1]

    def back(error: np.ndarray) -> np.ndarray:
        return np.concatenate([x.T @ error.astype(x.dtype), error.sum(0, keepdims=True)]) / len(x)

    def value_and_grad(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(shape) / scale
        log_p = log_softmax(product(w), axis=1)
        grad = back(np.exp(log_p) - hot) + ridge * w
        nats = -np.sum(hot * log_p) / len(x)
        return np.sum(ridge * w**2) / 2 + nats, (grad / scale).ravel()

    def curvature(flat: np.ndarray, direction: np.ndarray) -> np.ndarray:
        w, v = flat.reshape(shape) / scale, direction.reshape(shape) / scale
        p, moved = softmax(product(w), axis=1), product(v)
        moved = p * (moved - np.sum(p * moved, axis=1, keepdims=True))
        return ((back(moved) + ridge * v) / scale).ravel()

    start = np.zeros(shape) if start is None else start * scale
    return minimize(value_and_grad, start.ravel(), jac=True, hessp=curvature,
                    method="Newton-CG").x.reshape(shape) / scale


def logits(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the scores [n, classes] of rows x [n, D]."""
    return x @ weights[:-1] + weights[-1]


def folds(labels: np.ndarray) -> list[np.ndarray]:
    """Return the examples held out in each fold, bool [n]; one of a tenth where they are many.

    Folds hold every class alike: an example's fold is its rank within its class, modulo their
    number.
    """
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange(np.sum(labels == label))
    if len(labels) >= MANY:
        return [rank % 10 == 0]
    count = min(FOLDS, rank.max() + 1)
    return [rank % count == fold for fold in range(count)]


def choose_l2(x: np.ndarray, labels: np.ndarray, *, classes: int) -> float:
    """Return the strength under which held-out examples have the least cross-entropy.

    Not the most hits: a hundred labels leave many strengths with equal hits.
    """
    held, nats = folds(labels), []
    weights: list[np.ndarray | None] = [None] * len(held)
    for l2 in STRENGTHS:
        total = 0.0
        for i, out in enumerate(held):
            weights[i] = fit(x[~out], labels[~out], classes=classes, l2=l2, start=weights[i])
            log_p = log_softmax(logits(weights[i], x[out]), axis=1)
            total -= np.sum(np.take_along_axis(log_p, labels[out, None], axis=1))
        nats.append(total)
        if len(nats) - 1 - int(np.argmin(nats)) >= WORSE:
            break
    return STRENGTHS[int(np.argmin(nats))]


def learn(known: np.ndarray, labels: np.ndarray, labelled: np.ndarray,
          ) -> Callable[[np.ndarray], np.ndarray]:
    """Return (features [t, D]) -> scores [t, classes], learnt from the labelled rows of `known`.

    An affine map. Mean and spread are those of all training features [n, D]: they need no labels.
    A constant feature stays zero.
    """
    standard = standardiser(known)
    x, targets = standard(known[labelled]), labels[labelled]
    directions = principal(x)
    x, classes = x @ directions, int(targets.max()) + 1
    x = x.astype(np.float32) if len(x) >= MANY else x
    weights = fit(x, targets, classes=classes, l2=choose_l2(x, targets, classes=classes))
    return lambda asked: logits(weights, standard(asked) @ directions)


def probe(known: np.ndarray, labels: np.ndarray, labelled: np.ndarray, asked: np.ndarray,
          ) -> np.ndarray:
    """Return the classes int64 [t] of `asked` [t, D], learnt from the labelled rows of `known`."""
    return np.argmax(learn(known, labels, labelled)(asked), axis=1)


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
        objective, probe, name="linear", model=model, plain=plain, train_source=train_source,
        test_source=test_source, labels_per_class=labels_per_class, draws=draws,
        batch_size=batch_size, every=every)
