"""Judge frozen features by what a classifier makes of them, with few labels or with all.

With few, the labelled examples are drawn by a hash of their ids, several times; the interval is
Student's over these draws, so it says how much the choice of labels matters, not how much the
choice of test images does. With all labels there is nothing to draw: the interval is that of other
test images, by resampling them. Either way the method stands beside raw pixels and an untrained
network (evals.features).
"""

import functools
from collections.abc import Callable

import jax
import numpy as np
from scipy.special import stdtrit

from ssljax.core import sharding
from ssljax.core.errors import ConfigError, DataError
from ssljax.core.rng import hash64
from ssljax.core.source import Record, Source
from ssljax.core.types import Evaluator, Example, Judgement, Model, Objective, Params, PyTree
from ssljax.evals import bootstrap
from ssljax.evals.features import Labelled, extractor, random_features, read

# (train features [n, D], train labels [n], labelled [m], test features [t, D]) -> classes [t];
# labels outside `labelled` are for nobody to read.
Classify = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Features = Callable[[np.ndarray], np.ndarray]
Interval = tuple[float, tuple[float, float]]


def hashed_order(data: Labelled, draw: int) -> np.ndarray:
    """Return all rows in the order of a hash of draw and id: the same for any order of a source."""
    ranks = np.array([hash64("labelled", draw, *map(int, id)) for id in data.ids], np.uint64)
    return np.argsort(ranks, kind="stable")


def draw_labelled(data: Labelled, *, per_class: int, draw: int) -> np.ndarray:
    """Return which examples have a label in this draw, int64 [per_class * classes], class by class.

    They are the first of their class in the hashed order.

    Raises:
        DataError: a class has fewer examples.
    """
    order = hashed_order(data, draw)
    rows = []
    for label in np.unique(data.labels):
        rows.append(order[data.labels[order] == label][:per_class])
        if len(rows[-1]) < per_class:
            raise DataError(f"Class {label} has {len(rows[-1])} training examples; "
                            f"labels_per_class {per_class} needs more. Use a smaller number, or 0 "
                            "for all labels.")
    return np.concatenate(rows)


def student_interval(values: np.ndarray) -> Interval:
    """Return the mean of n >= 2 values and its 95 % interval by Student's t."""
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    half = stdtrit(len(values) - 1, 0.975) * error
    return float(mean), (float(mean - half), float(mean + half))


def standardiser(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the map to zero mean and unit variance over the rows of x; constants become zero."""
    mean, std = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    scale = np.where(std > 1e-6, std, np.inf)
    return lambda rows: (rows - mean) / scale


def principal(x: np.ndarray) -> np.ndarray:
    """Return the principal directions of the rows of x [n, D] as columns, orthonormal [D, R].

    They span the rows, so a penalised fit on x @ directions is the fit on x: with fewer examples
    than features it is a small one, and uncorrelated columns are quick to fit.
    """
    n, width = x.shape
    variances, vectors = np.linalg.eigh(x.T @ x if width <= n else x @ x.T)
    kept = variances > 1e-10 * max(variances[-1], 1e-300)
    if width <= n:
        return vectors[:, kept]
    return x.T @ (vectors[:, kept] / np.sqrt(variances[kept]))


def label_evaluator(objective: Objective, classify: Classify, *, name: str, model: Model,
                    plain: Callable[[Record], Example], train_source: Source, test_source: Source,
                    labels_per_class: int, draws: int, batch_size: int, every: int) -> Evaluator:
    """Return the evaluator that scores `classify` on the three kinds of features.

    Its result has the accuracies `name`, `name`_raw_pixels and `name`_random_init. Data and
    controls are computed once, when first asked for.

    Raises:
        ConfigError: there are too few labels or draws for a choice or an interval.
    """
    if labels_per_class and (labels_per_class < 2 or draws < 2):
        raise ConfigError(f"{name} with labels_per_class {labels_per_class} and draws {draws}: "
                          "both are at least 2, or labels_per_class is 0 for all labels.")
    extract = extractor(model, batch_size)

    @functools.cache
    def data() -> tuple[Labelled, Labelled, list[np.ndarray]]:
        train, test = read(train_source, plain), read(test_source, plain)
        if not labels_per_class:
            return train, test, [hashed_order(train, 0)]
        return train, test, [draw_labelled(train, per_class=labels_per_class, draw=draw)
                             for draw in range(draws)]

    def score(features: Features) -> Interval:
        train, test, drawn = data()
        known, asked = features(train.images), features(test.images)
        hits = np.array([classify(known, train.labels, labelled, asked) == test.labels
                         for labelled in drawn])
        if labels_per_class:
            return student_interval(hits.mean(axis=1))
        return bootstrap.ratio(hits[0], np.ones(len(hits[0])))

    @functools.cache
    def raw_pixels() -> Interval:
        return score(lambda images: images.reshape(len(images), -1))

    @functools.cache
    def random_init(mesh: jax.sharding.Mesh | None) -> Interval:
        return score(random_features(model, mesh, data()[0].images, batch_size=batch_size,
                                     extract=extract))

    def run(params: Params, extra: PyTree) -> Judgement:
        weights = objective.encoder(params, extra)
        return {name: score(lambda images: extract(*weights, images)),
                f"{name}_raw_pixels": raw_pixels(),
                f"{name}_random_init": random_init(sharding.mesh_of(weights[0]))}

    return Evaluator(every, run)
