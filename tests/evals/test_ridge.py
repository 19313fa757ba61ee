"""Ridge regression in closed form, against solving it anew for every strength and example."""

import numpy as np
import pytest

from ssljax.evals import ridge

RNG = np.random.default_rng(0)


def blobs(count: int, spread: float, *, classes: int = 3, width: int = 5):
    """Return features around one centre a class, [classes * count, width], and labels."""
    centres = np.random.default_rng(7).normal(size=(classes, width))
    labels = np.repeat(np.arange(classes), count)
    return centres[labels] + spread * RNG.normal(size=(len(labels), width)), labels


def plain_solution(x, targets, penalty):
    """Return weights and bias by the normal equations, the bias not penalised."""
    ones = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    eye = np.diag([penalty] * x.shape[1] + [0.0])
    w = np.linalg.solve(ones.T @ ones + eye, ones.T @ targets)
    return w[:-1], w[-1]


def left_out_error(x, targets, strength):
    """Return the squared error of every example when it alone is left out, by leaving it out."""
    total = 0.0
    penalty = strength * np.sum((x - x.mean(0)) ** 2) / len(x)
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        w, b = plain_solution(x[rest], targets[rest], penalty)
        total += np.sum((x[i] @ w + b - targets[i]) ** 2)
    return total


@pytest.mark.parametrize(("count", "width"), [(12, 4), (6, 40)])
def test_solution_is_the_best_left_out_one_of_the_grid(count, width):
    x, labels = blobs(count, 1.0, width=width)
    targets = 2 * np.eye(3)[labels] - 1
    errors = [left_out_error(x, targets, s) for s in ridge.STRENGTHS]
    best = ridge.STRENGTHS[int(np.argmin(errors))]
    w, b = ridge.solve(x, targets)
    expected = plain_solution(x, targets, best * np.sum((x - x.mean(0)) ** 2) / len(x))
    np.testing.assert_allclose(w, expected[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(b, expected[1], rtol=1e-6, atol=1e-9)


def test_recovers_separable_classes_from_few_labels():
    known, labels = blobs(20, 0.1)
    asked, answers = blobs(30, 0.1)
    chosen = np.flatnonzero(np.arange(60) % 20 < 5)
    poisoned = np.full_like(labels, 9)                 # labels outside the draw are never read
    poisoned[chosen] = labels[chosen]
    assert ridge.regress(known, poisoned, chosen, asked).tolist() == answers.tolist()


def test_scale_shift_and_constant_features_do_not_matter():
    known, labels = blobs(20, 0.7)
    asked, _ = blobs(30, 0.7)
    chosen = np.flatnonzero(np.arange(60) % 20 < 5)
    expected = ridge.regress(known, labels, chosen, asked).tolist()
    scale = np.array([1e3, 1, 1e-2, 5, 1])
    moved = [np.concatenate([x * scale + 3, np.ones((len(x), 1))], axis=1) for x in (known, asked)]
    assert ridge.regress(moved[0], labels, chosen, moved[1]).tolist() == expected
