"""Judge frozen features with few labels, next to the controls that cost no training.

Every judgement scores three kinds of features in the same way: the method's, raw pixels, and those
of the same network with random weights. A number without the other two says little: on small data
pixels are strong, and published methods are known to lose to them. The labelled examples are drawn
by a hash of their ids, several times; the interval is Student's over these draws, so it says how
much the choice of labels matters, not how much the choice of test images does.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import stdtrit

from ssljax.core import sharding
from ssljax.core.errors import ConfigError, DataError
from ssljax.core.rng import hash64
from ssljax.core.source import Record, Source
from ssljax.core.types import Evaluator, Example, Judgement, Model, Objective, Params, PyTree
from ssljax.train.layout import partition

# (train features [n, D], train labels [n], labelled [m], test features [t, D]) -> classes [t];
# labels outside `labelled` are for nobody to read.
Classify = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Interval = tuple[float, tuple[float, float]]


class Labelled(NamedTuple):
    """A source in memory: images float32 [n, H, W, C], labels int64 [n], ids uint32 [n, 2]."""

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def read(source: Source, plain: Callable[[Record], Example]) -> Labelled:
    """Return every record of a source after the deterministic transform.

    Raises:
        DataError: there is no record, or no label.
    """
    records = source.read(np.arange(len(source)))
    if not records or "label" not in records[0]:
        raise DataError(f"The source {dict(source.fingerprint())} has no "
                        f"{'label in its records' if records else 'records'}; this judgement "
                        "needs records with image and label.")
    return Labelled(np.stack([plain(record)["image"] for record in records]),
                    np.array([record["label"] for record in records], np.int64),
                    np.stack([record["id"] for record in records]))


def draw_labelled(data: Labelled, *, per_class: int, draw: int) -> np.ndarray:
    """Return which examples have a label in this draw, int64 [per_class * classes], class by class.

    They are the first of their class in the order of a hash of draw and id: the same on every
    machine, and for any order of the source.

    Raises:
        DataError: a class has fewer examples.
    """
    ranks = np.array([hash64("labelled", draw, *map(int, id)) for id in data.ids], np.uint64)
    order = np.argsort(ranks, kind="stable")
    rows = []
    for label in np.unique(data.labels):
        rows.append(order[data.labels[order] == label][:per_class])
        if len(rows[-1]) < per_class:
            raise DataError(f"Class {label} has {len(rows[-1])} training examples; "
                            f"labels_per_class {per_class} needs more. Use a smaller number.")
    return np.concatenate(rows)


def student_interval(values: np.ndarray) -> Interval:
    """Return the mean of n >= 2 values and its 95 % interval by Student's t."""
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    half = stdtrit(len(values) - 1, 0.975) * error
    return float(mean), (float(mean - half), float(mean + half))


def extractor(model: Model, batch_size: int) -> Callable[[Params, PyTree, np.ndarray], np.ndarray]:
    """Return (params, stats, images [n, H, W, C]) -> pooled features float32 [n, D] on the host.

    One compiled program: the last batch is filled up with zeros. Every process holds all images,
    and gets all features.
    """
    @jax.jit
    def pooled(params: Params, stats: PyTree, image: jax.Array) -> jax.Array:
        outputs = model.apply(params, {"image": image}, stats=stats)
        return sharding.shard(outputs["pooled"].astype(jnp.float32), None, None)

    def extract(params: Params, stats: PyTree, images: np.ndarray) -> np.ndarray:
        mesh = sharding.mesh_of(params)
        rows = batch_size if mesh is None else -(-batch_size // mesh.size) * mesh.size
        batches = []
        with sharding.use_mesh(mesh):
            for start in range(0, len(images), rows):
                batch = images[start:start + rows]
                fill = [(0, rows - len(batch))] + [(0, 0)] * (images.ndim - 1)
                placed = sharding.place_whole(mesh, np.pad(batch, fill))
                batches.append(np.asarray(pooled(params, stats, placed))[:len(batch)])
        return np.concatenate(batches)

    return extract


def untrained(model: Model, mesh: jax.sharding.Mesh | None, shape: tuple[int, ...],
              ) -> tuple[Params, PyTree]:
    """Return the random weights of a fixed key, laid out as in training; images are `shape`."""
    rows = 1 if mesh is None else mesh.size              # the batch axes must divide them

    def init(key: jax.Array) -> tuple[Params, PyTree]:
        return model.init(key, {"image": jnp.zeros((rows, *shape))})

    key = jax.random.key(0)
    layout = mesh and sharding.shardings(mesh, partition(), jax.eval_shape(init, key))
    with sharding.use_mesh(mesh):
        return jax.jit(init, out_shardings=layout)(key)


def few_label_evaluator(objective: Objective, classify: Classify, *, name: str, model: Model,
                        plain: Callable[[Record], Example], train_source: Source,
                        test_source: Source, labels_per_class: int, draws: int, batch_size: int,
                        every: int) -> Evaluator:
    """Return the evaluator that scores `classify` on the three kinds of features.

    Its result has the accuracies `name`, `name`_raw_pixels and `name`_random_init. Data and
    controls are computed once, when first asked for.

    Raises:
        ConfigError: there are too few labels or draws for a choice or an interval.
    """
    if labels_per_class < 2 or draws < 2:
        raise ConfigError(f"{name} with labels_per_class {labels_per_class} and draws {draws}: "
                          "both are at least 2.")
    extract = extractor(model, batch_size)

    @functools.cache
    def data() -> tuple[Labelled, Labelled, list[np.ndarray]]:
        train, test = read(train_source, plain), read(test_source, plain)
        return train, test, [draw_labelled(train, per_class=labels_per_class, draw=draw)
                             for draw in range(draws)]

    def score(features: Callable[[np.ndarray], np.ndarray]) -> Interval:
        train, test, drawn = data()
        known, asked = features(train.images), features(test.images)
        return student_interval(np.array([
            np.mean(classify(known, train.labels, labelled, asked) == test.labels)
            for labelled in drawn]))

    @functools.cache
    def raw_pixels() -> Interval:
        return score(lambda images: images.reshape(len(images), -1))

    @functools.cache
    def random_init(mesh: jax.sharding.Mesh | None) -> Interval:
        weights = untrained(model, mesh, data()[0].images.shape[1:])
        return score(lambda images: extract(*weights, images))

    def run(params: Params, extra: PyTree) -> Judgement:
        weights = objective.encoder(params, extra)
        return {name: score(lambda images: extract(*weights, images)),
                f"{name}_raw_pixels": raw_pixels(),
                f"{name}_random_init": random_init(sharding.mesh_of(weights[0]))}

    return Evaluator(every, run)
