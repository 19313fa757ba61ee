"""How healthy features are, without a label: whether they vary, in how many directions.

Computed on fixed images, on what the evaluation encoder pools:

    rank_me      effective rank of the features (Garrido et al. 2023, https://arxiv.org/abs/2210.02885)
    alpha_req    decay of their spectrum (Agrawal et al. 2022, https://arxiv.org/abs/2202.05808):
                 near 1 is good, far above it few directions carry everything
    lidar        effective rank of what tells images apart, against what tells views of one image
                 apart (Thilak et al. 2024, https://arxiv.org/abs/2312.04000); groups are views of
                 the same image, so it needs no label. Left out where the pretext makes no view
                 that the network reads whole
    std_min,     least and median over dimensions of the deviation of unit features, times sqrt(D):
    std_median   0 is a dead dimension, 1 healthy

Compare them between checkpoints of one run: an untrained network has a high rank and knows
nothing. Reads records with image; each figure is exact for its images, so its interval is itself.
Cost: a forward pass of `images` and of `groups` x views, and four eigen-decompositions of D x D:
by default five steps of batch 256 with two views, so `every` of 500 steps keeps it under 2 % of
them; tools/bench/health.py measures it.
"""

import functools
from collections.abc import Callable

import numpy as np

from ssljax.core.errors import ConfigError
from ssljax.core.source import Record, Source
from ssljax.core.types import Evaluator, Example, Judgement, Key, Model, Objective, Params, PyTree
from ssljax.evals.features import extractor
from ssljax.evals.views import Viewed, read_plain, read_probes, view_extractor

WITHIN = 1e-4           # added to the variance within groups, LiDAR's delta


def spectrum(matrix: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of a positive semi-definite matrix, float64, largest first."""
    return np.maximum(np.linalg.eigvalsh(matrix)[::-1], 0)


def entropy_rank(values: np.ndarray, epsilon: float = 1e-7) -> float:
    """Return exp of the entropy of values >= 0 as a distribution: how many of them count."""
    p = values / max(values.sum(), 1e-300) + epsilon
    return float(np.exp(-np.sum(p * np.log(p))))


def rank_me(z: np.ndarray) -> float:
    """Return RankMe of features [n, D], between 1 and min(n, D): equation 1 of the paper.

    Singular values are roots of the eigenvalues of the smaller Gram matrix: a decomposition of
    D x D takes a fraction of the time of one of n x D.
    """
    z = z.astype(np.float64)
    return entropy_rank(np.sqrt(spectrum(z.T @ z if z.shape[1] <= len(z) else z @ z.T)))


def alpha_req(z: np.ndarray) -> float:
    """Return alpha of features [n, D]: eigenvalue i of their covariance falls as i ** -alpha.

    The slope in logarithms over ranks 11 to D / 2; narrow networks start at D / 8. nan where
    features do not vary at all.
    """
    values = spectrum(np.cov(z.astype(np.float64), rowvar=False))
    first, last = min(11, 1 + len(values) // 8), max(len(values) // 2, 3)
    if values[0] < 1e-20:
        return float("nan")
    ranks = np.arange(first, last + 1)
    fall = np.log(np.maximum(values[ranks - 1], 1e-12 * values[0]))
    return float(-np.polyfit(np.log(ranks), fall, 1)[0])


def lidar(z: np.ndarray) -> float:
    """Return LiDAR of features [n, q, D] of n images with q >= 2 views each: equations 2 to 4."""
    z = z.astype(np.float64)
    centres = z.mean(axis=1)
    apart = centres - centres.mean(axis=0)
    rest = (z - centres[:, None]).reshape(-1, z.shape[-1])
    between = apart.T @ apart / (len(z) - 1)
    within = rest.T @ rest / (len(z) * (z.shape[1] - 1)) + WITHIN * np.eye(z.shape[-1])
    values, vectors = np.linalg.eigh(within)
    white = vectors / np.sqrt(values)
    return entropy_rank(spectrum(white.T @ between @ white))


def deviations(z: np.ndarray) -> np.ndarray:
    """Return the deviation of each dimension of unit rows of z [n, D], times sqrt(D)."""
    z = z.astype(np.float64)
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return z.std(axis=0) * z.shape[1] ** 0.5


def make(objective: Objective, *, model: Model, plain: Callable[[Record], Example],
         example: Callable[[Record, np.random.Generator], Example],
         views: Callable[[Key, Example], Example], source: Source, images: int = 2048,
         groups: int = 512, views_per_image: int = 10, batch_size: int = 256, every: int = 0,
         ) -> Evaluator:
    """Return the evaluator.

    Args:
        objective: says which parameters the method evaluates with.
        model: reads image, returns pooled.
        plain: the pretext's deterministic transform.
        example: the pretext's host part.
        views: the pretext's device part.
        source: where the images are from, held out or not; the same ones every time.
        images: how many for the rank, the spectrum and the deviations.
        groups: how many of them for LiDAR.
        views_per_image: of each of these.
        batch_size: images encoded at once.
        every: steps between judgements during training; 0 means only when asked.

    Raises:
        ConfigError: too few images, groups or views for a variance.
    """
    if min(images, groups, views_per_image) < 2:
        raise ConfigError(f"health with images {images}, groups {groups} and views_per_image "
                          f"{views_per_image}: each is at least 2.")
    extract = extractor(model, batch_size)

    @functools.cache
    def pixels() -> np.ndarray:
        return read_plain(source, images, plain)

    @functools.cache
    def grouped() -> Viewed:
        probes = read_probes(source, groups, plain=plain, example=example)
        return view_extractor(model, views, probes, batch_size=batch_size)

    def run(params: Params, extra: PyTree) -> Judgement:
        weights = objective.encoder(params, extra)
        z = extract(*weights, pixels())
        spread = deviations(z)
        found = {"rank_me": rank_me(z), "alpha_req": alpha_req(z),
                 "std_min": float(spread.min()), "std_median": float(np.median(spread))}
        of_views = grouped()(*weights, views_per_image)
        if of_views.shape[1] > 1:
            found["lidar"] = lidar(of_views)
        return {name: (value, (value, value)) for name, value in found.items()}

    return Evaluator(every, run)
