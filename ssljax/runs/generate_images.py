"""Images from a run of a method that generates, and the grid they are shown in."""

import io
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ssljax.core.errors import ConfigError, needed
from ssljax.core.files import write_atomic
from ssljax.evals.generated import drawer
from ssljax.runs.restore import load_run

CELL = 64           # pixels: smaller images are enlarged by a whole factor, so that each is seen
GAP = 2


def generate_images(run_dir: str | pathlib.Path, count: int, *, step: int | None = None,
                    seed: int = 0, batch_size: int = 16, options: Mapping[str, Any] | None = None,
                    progress: Callable[[int], None] = lambda done: None) -> np.ndarray:
    """Return images drawn from a checkpoint, uint8 [count, H, W, C].

    The weights are those that are judged: the moving average, where the optimizer keeps one.

    Args:
        run_dir: the folder a run was trained in.
        count: how many.
        step: which checkpoint; the newest sound one unless told.
        seed: the same seed and batch_size give the same images.
        batch_size: images drawn at once.
        options: of the objective's `sample`, such as steps, guidance and label of flow_matching
            or temperature of image_gpt.
        progress: is told how many are done.

    Raises:
        ConfigError: the run's method does not generate images, or not with these options.
        CheckpointError: no run there, no such step, or it is damaged.
    """
    if count < 1 or batch_size < 1:
        raise ConfigError(f"{count} images, {batch_size} at once: expected one or more of both.")
    run = load_run(run_dir, step=step)
    draw = drawer(run.objective, run.pretext, options or {}, batch_size=min(batch_size, count))
    drawn: list[np.ndarray] = []
    for images in draw(run.params, run.extra, seed, count):
        drawn.append(images)
        progress(sum(map(len, drawn)))
    return np.concatenate(drawn)


def grid(images: np.ndarray) -> np.ndarray:
    """Return images uint8 [n, H, W, C] as one [H, W, C], in rows of a square or a wider shape."""
    count, height, width, channels = images.shape
    scale = max(1, CELL // max(height, width))
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    cell = (height * scale + GAP, width * scale + GAP)
    out = np.full((rows * cell[0] + GAP, columns * cell[1] + GAP, channels), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * cell[0] + GAP, (i % columns) * cell[1] + GAP
        out[top:top + image.shape[0], left:left + image.shape[1]] = image
    return out


def write_grid(path: str | pathlib.Path, images: np.ndarray) -> None:
    """Write images uint8 [n, H, W, C] of one or three channels as one PNG file, atomically.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    with needed("pillow", "train"):
        from PIL import Image
    picture = grid(images)
    data = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(data, "PNG")
    write_atomic(pathlib.Path(path), data.getvalue())
