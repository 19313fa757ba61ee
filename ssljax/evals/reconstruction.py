"""Judge predictions of hidden patches beside guesses from the patches around them.

For methods that predict patches (MAE, SimMIM, MaskFeat, AIM): the mean squared error of the judged
patches of held-out images, beside that of two fillings that learn nothing and read what the method
read: the mean of the visible pixels, and visible pixels weighted by their distance (Shepard 1968,
https://doi.org/10.1145/800186.810616). Where targets are pixels the errors have the unit of pixels
in [0, 1], squared: for CIFAR-10 at 75 % of 4 by 4 patches 0.048 by the mean and 0.025 by distance.
Else (normalised pixels, HOG) a filling is turned into targets as the image is, by its own
statistics alone: nothing is un-normalised with the mean and variance that the method cannot know.
Images have the pretext's deterministic transform, masks are those of its views.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.signal import fftconvolve

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.core.source import Record, Source
from ssljax.core.types import (
    Batch,
    Evaluator,
    Example,
    Judgement,
    Key,
    Model,
    Objective,
    Params,
    PyTree,
    Reconstruction,
)
from ssljax.evals import bootstrap
from ssljax.evals.features import rows_on
from ssljax.evals.readable import each_readable
from ssljax.train.state import with_views

# Powers of one over the distance, and what targets that are no pixels are multiplied by: a guess
# that is uncertain should be small. The best of them on the judged images is the baseline.
POWERS, SHRINK = (2, 3, 4), (1.0, 0.8, 0.6, 0.4, 0.2)
SEED = 0                # of masks
Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]     # image [H, W, C], seen [H, W] -> image


def neighbours(image: np.ndarray, seen: np.ndarray, power: int) -> np.ndarray:
    """Return every pixel's mean over the seen ones, weighted by distance**-power.

    Args:
        image: float [H, W, C].
        seen: bool [H, W], at least one.
        power: how fast weights fall.

    Returns:
        float64 [H, W, C].
    """
    rows, columns = (np.arange(1 - side, side) for side in seen.shape)
    squared = (rows[:, None] ** 2 + columns**2).astype(np.float64)
    squared[squared == 0] = np.inf                      # a pixel does not vote for itself
    values = np.concatenate([image * seen[..., None], seen[..., None]], axis=-1, dtype=np.float64)
    # With a kernel of all distances a convolution reaches every pixel from every other.
    summed = fftconvolve(values, (squared ** (-power / 2))[..., None], mode="full", axes=(0, 1))
    height, width = seen.shape
    summed = summed[height - 1:2 * height - 1, width - 1:2 * width - 1]
    return summed[..., :-1] / np.maximum(summed[..., -1:], 1e-12)


def visible_mean(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return an image [H, W, C] that has the mean of the seen pixels everywhere."""
    return np.broadcast_to(image[seen].mean(axis=0), image.shape)


def filled(image: np.ndarray, scored: np.ndarray, seen: np.ndarray, fill: Fill) -> np.ndarray:
    """Return an image with its judged patches filled in, each from the patches it may read.

    Args:
        image: float32 [H, W, C].
        scored: bool [N], the judged patches.
        seen: bool [N, N], what the prediction of each may read; one that reads nothing is left
            grey, at zero.
        fill: how.
    """
    grid = round(len(scored) ** 0.5)
    side = image.shape[0] // grid

    def pixels(patches: np.ndarray) -> np.ndarray:
        return np.repeat(np.repeat(patches.reshape(grid, grid), side, 0), side, 1)

    result = image.copy()
    chosen, groups = np.unique(seen[scored], axis=0, return_inverse=True)
    which = np.flatnonzero(scored)
    for number, visible in enumerate(chosen):           # one filling for all that saw the same
        here = pixels(np.isin(np.arange(len(scored)), which[groups.ravel() == number]))
        result[here] = fill(image, pixels(visible))[here] if visible.any() else 0
    return result


def error_sums(found: np.ndarray, wanted: np.ndarray, scored: np.ndarray, scale: np.ndarray,
               ) -> np.ndarray:
    """Return each image's sum over judged patches of their mean squared error, float64 [n].

    Args:
        found: [n, N, P].
        wanted: [n, N, P].
        scored: bool [n, N].
        scale: [C], what the squares of each channel are multiplied by; or [1].
    """
    squared = ((found.astype(np.float64) - wanted) ** 2).reshape(*scored.shape, -1, len(scale))
    return np.sum(np.where(scored, (squared * scale).mean(axis=(2, 3)), 0), axis=1)


def judgement(sums: Mapping[str, np.ndarray], weights: np.ndarray) -> Judgement:
    """Return the errors by name; of several guesses from neighbours the best."""
    guesses = [x for name, x in sums.items() if name.startswith("neighbours")]
    kinds = {"masked_error": sums["method"], "masked_error_neighbours": min(guesses, key=np.sum),
             "masked_error_visible_mean": sums["visible_mean_1.0"]}
    return {name: bootstrap.ratio(value, weights) for name, value in kinds.items()}


def baselines(image: np.ndarray, scored: np.ndarray, seen: np.ndarray,
              ) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name of each way to guess, and images [n, H, W, C] filled in by it."""
    fills = {"visible_mean": visible_mean,
             **{f"neighbours_{p}": functools.partial(neighbours, power=p) for p in POWERS}}
    for name, fill in fills.items():
        rows = zip(image, scored, seen, strict=True)
        yield name, np.stack([filled(*row, fill) for row in rows])


def make(objective: Objective, *, model: Model, plain: Callable[[Record], Example],
         views: Callable[[Key, Example], Example], test_source: Source, images: int = 1000,
         std: Sequence[float] = (0.5,), batch_size: int = 256, every: int = 0) -> Evaluator:
    """Return the evaluator: masked_error, masked_error_neighbours, masked_error_visible_mean.

    Args:
        objective: a method with `reconstruct`.
        model: handed to every judgement; the objective has it already.
        plain: the pretext's deterministic transform.
        views: its device part, which draws the masks.
        test_source: held-out images.
        images: how many of them are judged, the first ones; 0 means all.
        std: of each channel, the pretext's: errors of pixels are those before the division by it.
        batch_size: images predicted at once.
        every: steps between judgements during training; 0 means only when asked.

    Raises:
        ConfigError: the objective predicts no patches.
    """
    del model
    reconstruct = objective.reconstruct
    if reconstruct is None:
        raise ConfigError("reconstruction judges predictions of patches, and this objective makes "
                          "none; remove it from evals.")

    @functools.cache
    def data() -> dict[str, np.ndarray]:
        count = min(images or len(test_source), len(test_source))
        pixels, ids = zip(*each_readable(test_source, test_source.read(np.arange(count)),
                                         lambda r: (plain(r)["image"], r["id"])), strict=True)
        return {"image": np.stack(pixels), "id": np.stack(ids),
                "epoch": np.zeros(len(ids), np.int32)}

    predict, targets = programs(reconstruct, views)

    def run(params: Params, extra: PyTree) -> Judgement:
        mesh, parts = sharding.mesh_of(params), []
        rows = rows_on(mesh, batch_size)

        def on_devices(program: Callable[[Any], Any], part: Any) -> Any:
            count = len(jax.tree.leaves(part)[0])
            whole = jax.tree.map(lambda x: np.resize(x, (rows, *x.shape[1:])), part)
            with sharding.use_mesh(mesh):
                found = program(sharding.place_whole(mesh, whole))
            return jax.tree.map(lambda x: np.asarray(x)[:count], found)

        for start in range(0, len(data()["image"]), rows):
            part = {name: x[start:start + rows] for name, x in data().items()}
            image = part["image"]
            predicted, scored, seen = on_devices(functools.partial(predict, params, extra), part)
            wanted = on_devices(targets, image)
            scale = np.resize(std, image.shape[-1]) ** 2 if reconstruct.pixels else np.ones(1)
            sums = {"method": error_sums(predicted, wanted, scored, scale)}
            for name, guess in baselines(image, scored, seen):
                for factor in (1.0,) if reconstruct.pixels else SHRINK:
                    found = factor * on_devices(targets, guess)
                    sums[f"{name}_{factor}"] = error_sums(found, wanted, scored, scale)
            parts.append({**sums, "weight": scored.sum(axis=1).astype(np.float64)})
        whole = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        return judgement(whole, whole.pop("weight"))

    return Evaluator(every, run)


def programs(reconstruct: Reconstruction, views: Callable[[Key, Example], Example],
             ) -> tuple[Callable[..., Any], Callable[[jax.Array], jax.Array]]:
    """Return the two compiled programs: predictions of a batch, and the targets of images.

    Results are whole on every process.
    """
    def whole(tree: Any) -> Any:
        return jax.tree.map(lambda x: sharding.shard(x, *(None,) * x.ndim), tree)

    @jax.jit
    def predict(params: Params, extra: PyTree, batch: Batch) -> Any:
        key = jax.random.key(SEED)
        blank = jnp.zeros_like(batch["image"], jnp.uint8)       # of the views only masks are kept
        drawn = with_views(views, key, {**batch, "image": blank})
        return whole(reconstruct.predict(params, extra, {**drawn, "image": batch["image"]}, key))

    return predict, jax.jit(lambda image: whole(reconstruct.targets(image)))
