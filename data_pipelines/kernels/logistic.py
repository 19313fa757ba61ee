"""Logistic regression on sparse rows, fitted by L-BFGS: the same weights on every run.

Nocedal and Wright 2006, "Numerical Optimization", algorithm 7.4 (two loops) with step halving.
Classes have equal weight however many rows they have. NumPy alone, since SciPy would be a sixth of
what curation installs for forty lines. Reads Features and labels, returns float64 weights.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from data_pipelines.kernels.hashed_ngrams import Features

HISTORY = 10                   # pairs of differences remembered
SUFFICIENT = 1e-4              # share of the promised decrease that a step must reach

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def fit_logistic(features: Features, labels: np.ndarray, *, l2: float = 1e-5,
                 iterations: int = 100) -> np.ndarray:
    """Return weights and, last, the bias, float64 [columns + 1].

    Args:
        features: rows of both classes.
        labels: bool [rows].
        l2: penalty of half the squared length of the weights, beside the mean loss.
        iterations: most steps of the optimiser.
    """
    share = np.where(labels, 1 / max(1, labels.sum()), 1 / max(1, (~labels).sum())) / 2
    signs = np.where(labels, 1.0, -1.0)

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (features.times(weights[:-1]) + weights[-1])
        loss = share @ np.logaddexp(0, -margins) + l2 / 2 * weights[:-1] @ weights[:-1]
        residuals = -share * signs * sigmoid(-margins)
        slope = features.transposed_times(residuals) + l2 * weights[:-1]
        return float(loss), np.append(slope, residuals.sum())

    return minimise(objective, np.zeros(features.columns + 1), iterations)


def predict(features: Features, weights: np.ndarray) -> np.ndarray:
    """Return the probability of the positive class, float64 [rows]."""
    return sigmoid(features.times(weights[:-1]) + weights[-1])


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return np.exp(-np.logaddexp(0, -x))


def minimise(objective: Objective, start: np.ndarray, iterations: int) -> np.ndarray:
    """Return where a smooth convex objective is least, near enough, by L-BFGS."""
    x, (value, slope) = start, objective(start)
    pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=HISTORY)
    for _ in range(iterations):
        direction = -inverse_hessian_times(slope, pairs)
        promised, size = direction @ slope, 1.0
        new_value, new_slope = objective(x + direction)
        while new_value > value + SUFFICIENT * size * promised and size > 1e-10:
            size /= 2
            new_value, new_slope = objective(x + size * direction)
        step, change = size * direction, new_slope - slope
        if value - new_value <= 1e-9 * max(1.0, abs(value)):
            break
        if step @ change > 1e-12 * (change @ change):       # keeps the approximation positive
            pairs.append((step, change))
        x, value, slope = x + step, new_value, new_slope
    return x


def inverse_hessian_times(slope: np.ndarray,
                          pairs: deque[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the approximate inverse Hessian times the slope."""
    result, alphas = slope.copy(), []
    for step, change in reversed(pairs):
        alphas.append(step @ result / (step @ change))
        result -= alphas[-1] * change
    if pairs:
        step, change = pairs[-1]
        result *= step @ change / (change @ change)
    for (step, change), alpha in zip(pairs, reversed(alphas), strict=True):
        result += (alpha - change @ result / (step @ change)) * step
    return result
