"""How far generated images are from real ones, by the features of an encoder of ours.

The Fréchet distance between two normal distributions fitted to features, in the form of the FID
(Heusel et al. 2017, https://arxiv.org/abs/1706.08500). The features are those of a run of this
repository, not of Inception: numbers compare between methods judged with the same encoder, never
with a published FID. Like the FID it is biased by the number of images, so every comparison here
has as many on either side, and it stands between two references: real images against other real
ones, which is as small as it can be, and noise against real ones.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from ssljax.core.errors import ConfigError, DataError
from ssljax.core.rng import record_id
from ssljax.core.source import Record, Source
from ssljax.core.types import (
    Evaluator,
    Example,
    Judgement,
    Model,
    Objective,
    Params,
    Pretext,
    PyTree,
)
from ssljax.evals.features import extractor
from ssljax.evals.generated import drawer
from ssljax.evals.readable import each_readable

BLOCKS = 10         # of the jackknife


class Encoder(NamedTuple):
    """A trained encoder and the transform of what it reads; `model` returns pooled [n, D]."""

    model: Model
    params: Params
    stats: PyTree
    plain: Callable[[Record], Example]


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return |mean_a - mean_b|**2 + tr(C_a + C_b - 2 (C_a C_b)**(1/2)) of features [n, D], [m, D].

    In float64, by symmetric eigenvalues: the root's trace is that of (A C_b A)**(1/2), A the root
    of C_a, whose eigenvalues are real however few images there are.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean = a.mean(axis=0) - b.mean(axis=0)
    cov_a, cov_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    return float(max(0.0, mean @ mean + np.trace(cov_a) + np.trace(cov_b) - 2 * shared))


def with_interval(a: np.ndarray, b: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the distance of features and its 95 % interval by the delete-a-block jackknife.

    Blocks of rows are left out of both at once. The bootstrap would not do: drawing rows twice
    makes the distance larger.
    """
    value, blocks = frechet_distance(a, b), min(BLOCKS, len(a), len(b))
    without = np.array([frechet_distance(np.delete(a, np.s_[i::blocks], axis=0),
                                         np.delete(b, np.s_[i::blocks], axis=0))
                        for i in range(blocks)])
    error = np.sqrt((blocks - 1) * np.mean((without - without.mean()) ** 2))
    half = float(stdtrit(blocks - 1, 0.975) * error)
    return value, (value - half, value + half)


def make(objective: Objective, *, pretext: Pretext, source: Source, encoder_run: str,
         load_encoder: Callable[[str], Encoder], images: int = 1000,
         options: Mapping[str, Any] | None = None, batch_size: int = 64, seed: int = 0,
         every: int = 0) -> Evaluator:
    """Return the evaluator; its figures begin with "feature_distance".

    Args:
        objective: generates.
        pretext: makes images of what was generated.
        source: held-out images, twice as many as are generated.
        encoder_run: the folder of a run whose encoder tells features.
        load_encoder: reads such a folder.
        images: generated ones; more than the encoder's D, or covariances are singular.
        options: of the objective's `sample`: steps, guidance, temperature, ...
        batch_size: images drawn and encoded at once.
        seed: of the drawn images.
        every: steps between judgements during training; 0 means only when asked.

    Raises:
        ConfigError: the method does not generate, or too few images are asked for.
        DataError: the source has less than twice as many.
    """
    draw = drawer(objective, pretext, options or {}, batch_size=batch_size)
    if images < 4:
        raise ConfigError(f"feature_distance with {images} images: expected 4 or more, better "
                          "1,000.")
    if len(source) < 2 * images:
        raise DataError(f"feature_distance with {images} images compares them with as many real "
                        f"ones and those with as many others; the source has {len(source)}. Use "
                        f"images = {len(source) // 2} or less.")

    @functools.cache
    def encode() -> Callable[[list[Record]], np.ndarray]:
        encoder = load_encoder(encoder_run)
        extract = extractor(encoder.model, batch_size)

        def features(records: list[Record]) -> np.ndarray:
            pixels = each_readable(source, records, lambda r: np.asarray(encoder.plain(r)["image"]))
            return extract(encoder.params, encoder.stats, np.stack(pixels))

        return features

    @functools.cache
    def real() -> tuple[np.ndarray, np.ndarray]:
        chosen = np.random.default_rng(0).permutation(len(source))[:2 * images]
        features = encode()(source.read(chosen))
        half = len(features) // 2
        return features[:half], features[half:]

    @functools.cache
    def references(shape: tuple[int, ...]) -> Judgement:
        noise = np.random.default_rng(0).integers(0, 256, (images, *shape)).astype(np.uint8)
        return {"feature_distance_real": with_interval(*real()),
                "feature_distance_noise": with_interval(encode()(as_records(noise)), real()[0])}

    def run(params: Params, extra: PyTree) -> Judgement:
        drawn = np.concatenate(list(draw(params, extra, seed, images)))
        distance = with_interval(encode()(as_records(drawn)), real()[0])
        return {"feature_distance": distance, **references(drawn.shape[1:])}

    return Evaluator(every, run)


def as_records(images: np.ndarray) -> list[Record]:
    """Return images uint8 [n, H, W, C] as records of a source."""
    return [{"id": record_id("generated", i), "image": image} for i, image in enumerate(images)]
