"""The linear probe: its optimum, its choice of L2, and what it can and cannot learn."""

import numpy as np
import pytest

from ssljax.evals import linear

RNG = np.random.default_rng(0)


def blobs(count: int, spread: float, *, classes: int = 3, width: int = 5):
    """Return features around one centre a class, [classes * count, width], and labels."""
    centres = np.random.default_rng(7).normal(size=(classes, width))
    labels = np.repeat(np.arange(classes), count)
    return centres[labels] + spread * RNG.normal(size=(len(labels), width)), labels


def test_recovers_separable_classes():
    known, labels = blobs(20, 0.1)
    asked, answers = blobs(30, 0.1)
    chosen = np.flatnonzero(np.arange(60) % 20 < 5)
    assert linear.probe(known, labels, chosen, asked).tolist() == answers.tolist()


def test_cannot_learn_what_is_not_there():
    known, asked = RNG.normal(size=(300, 5)), RNG.normal(size=(600, 5))
    labels = np.repeat(np.arange(3), 100)
    chosen = np.flatnonzero(np.arange(300) % 100 < 10)
    accuracy = np.mean(linear.probe(known, labels, chosen, asked) == np.arange(600) % 3)
    assert 0.23 < accuracy < 0.43


def test_labels_outside_the_draw_are_never_read():
    known, labels = blobs(20, 1.0)
    asked, _ = blobs(30, 1.0)
    chosen = np.flatnonzero(np.arange(60) % 20 < 5)
    poisoned = np.full_like(labels, 9)
    poisoned[chosen] = labels[chosen]
    assert linear.probe(known, poisoned, chosen, asked).tolist() == linear.probe(
        known, labels, chosen, asked).tolist()


@pytest.mark.parametrize("l2", [1.0, 0.01])
def test_fit_equals_scikit_learn(l2):
    model = pytest.importorskip("sklearn.linear_model")
    x, labels = blobs(15, 1.0)
    theirs = model.LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8, max_iter=1000).fit(x, labels)
    weights = linear.fit(x, labels, classes=3, l2=l2)
    np.testing.assert_allclose(weights[:-1].T, theirs.coef_, atol=2e-3)
    ours = x @ weights[:-1] + weights[-1]
    expected = theirs.decision_function(x)
    centred = [z - z.mean(axis=1, keepdims=True) for z in (ours, expected)]
    np.testing.assert_allclose(*centred, atol=5e-3)


def test_fit_is_a_minimum():
    x, labels = blobs(15, 1.0)
    weights = linear.fit(x, labels, classes=3, l2=0.1)

    def loss(w):
        logits = x @ w[:-1] + w[-1]
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -log_p[np.arange(len(x)), labels].mean() + 0.05 * np.sum(w[:-1] ** 2)

    for _ in range(20):
        step = RNG.normal(size=weights.shape)
        assert loss(weights + 1e-2 * step) > loss(weights)


def test_noisy_labels_choose_more_shrinkage_than_clean_ones():
    x, labels = blobs(10, 0.3, width=40)
    noisy = np.where(RNG.random(30) < 0.5, RNG.permutation(labels), labels)
    rank = np.argsort(noisy, kind="stable")
    assert linear.choose_l2(x[rank], noisy[rank], classes=3) > min(linear.STRENGTHS)
    assert linear.choose_l2(x, labels, classes=3) in linear.STRENGTHS


def test_scale_and_constant_features_do_not_matter():
    known, labels = blobs(20, 0.7)
    asked, _ = blobs(30, 0.7)
    chosen = np.flatnonzero(np.arange(60) % 20 < 5)
    expected = linear.probe(known, labels, chosen, asked).tolist()
    scale = np.array([1e3, 1, 1e-2, 5, 1])
    assert linear.probe(known * scale + 3, labels, chosen, asked * scale + 3).tolist() == expected
    padded = [np.concatenate([x, np.ones((len(x), 1))], axis=1) for x in (known, asked)]
    assert linear.probe(padded[0], labels, chosen, padded[1]).tolist() == expected


@pytest.mark.parametrize(("rows", "width"), [(30, 8), (8, 30)])
def test_principal_directions_span_the_rows_and_decorrelate_them(rows, width):
    x = RNG.normal(size=(rows, width)) @ RNG.normal(size=(width, width))
    directions = linear.principal(x)
    z = x @ directions
    np.testing.assert_allclose(z @ directions.T, x, atol=1e-8)
    np.testing.assert_allclose(directions.T @ directions, np.eye(8), atol=1e-6)
    gram = z.T @ z
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-6 * gram.max())


def test_fit_in_principal_directions_is_the_fit_in_features():
    x, labels = blobs(6, 1.0, width=40)                    # more features than examples
    directions = linear.principal(x)
    whole = linear.fit(x, labels, classes=3, l2=0.1)
    small = linear.fit(x @ directions, labels, classes=3, l2=0.1)
    np.testing.assert_allclose(directions @ small[:-1], whole[:-1], atol=2e-3)


def test_many_labels_hold_a_tenth_out_and_few_are_cross_validated():
    many = np.repeat(np.arange(4), linear.MANY // 4)
    held, = linear.folds(many)
    assert np.bincount(many[held]).tolist() == [linear.MANY // 40] * 4
    few = np.repeat(np.arange(4), 10)
    assert np.sum(linear.folds(few), axis=0).tolist() == [1] * 40 and len(linear.folds(few)) == 5


def test_all_labels_of_many_examples_reach_the_best_rule():
    known, labels = blobs(1000, 0.8)
    asked, answers = blobs(500, 0.8)
    centres = np.random.default_rng(7).normal(size=(3, 5))
    best = np.argmin(((asked[:, None] - centres) ** 2).sum(-1), axis=1)
    found = linear.probe(known.astype(np.float32), labels, np.arange(3000), asked)
    assert np.mean(found == answers) > np.mean(best == answers) - 0.01
