"""Intervals by resampling: how far a ratio of sums moves when other records had been drawn.

The percentile bootstrap of Efron, "Bootstrap methods: another look at the jackknife", 1979,
https://doi.org/10.1214/aos/1176344552, over records (documents, images): the unit that was sampled.
"""

import numpy as np

RESAMPLES = 1000
SEED = 0


def ratio(sums: np.ndarray, weights: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return sum(sums) / sum(weights) and its 95 % interval over records.

    Args:
        sums: float64 [n], what each record adds to the numerator (nats, correct answers).
        weights: float64 [n], what it adds to the denominator (bytes, one).

    Returns:
        The value and (low, high); nan for all that fewer than two records cannot tell.
    """
    sums, weights = np.asarray(sums, np.float64), np.asarray(weights, np.float64)
    value = float(sums.sum() / weights.sum()) if weights.sum() else float("nan")
    if len(sums) < 2 or not np.isfinite(value):
        return value, (float("nan"), float("nan"))
    rng = np.random.default_rng(SEED)
    draws = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(sums), size=len(sums))
        weight = weights[drawn].sum()
        if weight:
            draws.append(sums[drawn].sum() / weight)
    low, high = np.percentile(draws, [2.5, 97.5])
    return value, (float(low), float(high))
