"""Find a view of the same image among views of all others: does it see past augmentation.

Two random views of every held-out image, as the run's own pretext makes them; a view is right when
the most similar second view, by the cosine of what the evaluation encoder pools, is of the same
image (Wu et al. 2018, https://arxiv.org/abs/1805.01978, instance discrimination). Needs no label.
Returns retrieval_at_1 of the method, of the untrained network and of raw pixels, the interval over
images. With n images chance is 1 / n.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.core.source import Record, Source
from ssljax.core.types import (
    Evaluator,
    Example,
    Inputs,
    Judgement,
    Key,
    Model,
    Objective,
    Outputs,
    Params,
    PyTree,
)
from ssljax.evals import bootstrap
from ssljax.evals.features import calibrated, untrained
from ssljax.evals.labels import Interval
from ssljax.evals.views import Probes, Viewed, read_probes, view_extractor


def pixels(params: Params, inputs: Inputs, **_: Any) -> Outputs:
    """Pool nothing: raw pixels as the features of a network that hands them on."""
    del params
    image = inputs["image"]
    return {"pooled": sharding.reshape(image, (image.shape[0], -1), (sharding.BATCH, None))}


def first_hits(z: np.ndarray) -> np.ndarray:
    """Return for each image whether its second view is the nearest to its first; z is [n, 2, D]."""
    z = z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)
    return np.argmax(z[:, 0] @ z[:, 1].T, axis=1) == np.arange(len(z))


def make(objective: Objective, *, model: Model, plain: Callable[[Record], Example],
         example: Callable[[Record, np.random.Generator], Example],
         views: Callable[[Key, Example], Example], source: Source, images: int = 1024,
         batch_size: int = 256, every: int = 0) -> Evaluator:
    """Return the evaluator.

    Args:
        objective: says which parameters the method evaluates with.
        model: reads image, returns pooled.
        plain: the pretext's deterministic transform.
        example: the pretext's host part.
        views: the pretext's device part.
        source: held-out images.
        images: how many; the same ones every time.
        batch_size: images encoded at once.
        every: steps between judgements during training; 0 means only when asked.

    Raises:
        ConfigError: the pretext makes no view that the network reads whole.
    """
    @functools.cache
    def probes() -> Probes:
        return read_probes(source, images, plain=plain, example=example)

    @functools.cache
    def method() -> Viewed:
        return view_extractor(model, views, probes(), batch_size=batch_size)

    def score(viewed: Viewed, params: Params, stats: PyTree) -> Interval:
        z = viewed(params, stats, 2)
        if not z.shape[1]:
            raise ConfigError("retrieval needs views that the network reads whole, and this "
                              "pretext makes none; leave the judgement out.")
        hits = first_hits(z)
        return bootstrap.ratio(hits, np.ones(len(hits)))

    @functools.cache
    def controls(mesh: jax.sharding.Mesh | None) -> Judgement:
        seen = probes().plain
        params, stats = untrained(model, mesh, seen.shape[1:])
        stats = calibrated(model, params, stats, seen, batch_size=batch_size)
        raw = view_extractor(model._replace(apply=pixels), views, probes(), batch_size=batch_size)
        return {"retrieval_at_1_random_init": score(method(), params, stats),
                "retrieval_at_1_raw_pixels": score(raw, params, stats)}

    def run(params: Params, extra: PyTree) -> Judgement:
        weights = objective.encoder(params, extra)
        return {"retrieval_at_1": score(method(), *weights),
                **controls(sharding.mesh_of(weights[0]))}

    return Evaluator(every, run)
