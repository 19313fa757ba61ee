"""Classify images by the names of their classes: no label is read but to score.

Each class is the mean of the unit vectors of its name in several sentences, and an image belongs to
the nearest (Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 3.1). For CLIP and
SigLIP. Reads records with image and label; returns the accuracy, the interval over images. The
untrained towers stand beside it; chance is one over the classes.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.core.source import Record, Source
from ssljax.core.tokenizer import Tokenizer
from ssljax.core.types import Evaluator, Example, Judgement, Model, Objective, Params, PyTree
from ssljax.evals import bootstrap
from ssljax.evals.features import Labelled, read
from ssljax.evals.labels import Interval
from ssljax.evals.pairs import embedder

TEMPLATES = ("a photo of a {}.", "a picture of a {}.", "this is a {}.")


def class_vectors(embed: Callable[[Sequence[str]], np.ndarray], classes: Sequence[str],
                  templates: Sequence[str]) -> np.ndarray:
    """Return a unit vector for each class, float32 [classes, E]."""
    vectors = embed([t.format(name) for name in classes for t in templates])
    means = vectors.reshape(len(classes), len(templates), -1).mean(axis=1)
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def make(objective: Objective, *, model: Model, text_model: Model,
         plain: Callable[[Record], Example], tokenizer: Tokenizer, seq_len: int,
         source: Source, classes: Sequence[str],
         templates: Sequence[str] = TEMPLATES, batch_size: int = 256, every: int = 0) -> Evaluator:
    """Return the evaluator.

    Args:
        objective: CLIP or SigLIP.
        model: the image tower.
        text_model: the text tower, as the objective's.
        plain: the pretext's deterministic transform.
        tokenizer: of the captions in training.
        seq_len: L, as in training.
        source: held-out images with labels.
        classes: the name of each label.
        templates: sentences with one {} for the name.
        batch_size: images or texts encoded at once.
        every: steps between judgements during training; 0 means only when asked.
    """
    towers = embedder(model, text_model, tokenizer, seq_len=seq_len, batch_size=batch_size)

    @functools.cache
    def data() -> Labelled:
        found = read(source, plain)
        if found.labels.max() >= len(classes):
            raise ConfigError(f"zero_shot has the names of {len(classes)} classes, and the source "
                              f"labels up to {found.labels.max()}; name them all, in order.")
        return found

    def score(params: Params, stats: PyTree) -> Interval:
        vectors = class_vectors(lambda texts: towers.texts(params, stats, texts), classes,
                                templates)
        images = towers.images(params, stats, data().images)
        hits = np.argmax(images @ vectors.T, axis=1) == data().labels
        return bootstrap.ratio(hits, np.ones(len(hits)))

    @functools.cache
    def untrained(mesh: jax.sharding.Mesh | None) -> Interval:
        return score(*towers.untrained(objective, mesh, data().images))

    def run(params: Params, extra: PyTree) -> Judgement:
        return {"zero_shot": score(params, extra["stats"]),
                "zero_shot_random_init": untrained(sharding.mesh_of(params))}

    return Evaluator(every, run)
