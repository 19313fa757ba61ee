"""An image, noise, and how far the one has become the other, for flow matching.

Reads records {"image", "id"} and, with classes, {"label": int}; the device part replaces image by
float32 [size, size, C] and adds noise of its shape, time float32 [] from 0 (noise) to 1 (image),
and with classes label int32 [], which is the number of classes where it was dropped. All draws are
keyed by record and epoch: losses do not depend on devices or microbatches.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.augment.crop import Method, crop_resize, random_box
from ssljax.augment.flip import random_flip
from ssljax.augment.pixels import from_standard, standardise, to_unit
from ssljax.core.errors import ConfigError, DataError
from ssljax.core.source import Record
from ssljax.core.types import Batch, Example, Key, Pretext
from ssljax.pretext.image import image_format

TINY = {"size": 8, "channels": 1}
Times = Literal["logit_normal", "uniform"]


def draw_time(key: Key, kind: Times) -> jax.Array:
    """Draw a time, float32 []: uniform, or the logistic function of a normal variable.

    The latter looks more often at the middle, where the velocity is hardest to tell (Esser et al.
    2024, https://arxiv.org/abs/2403.03206, section 3.1).
    """
    if kind == "uniform":
        return jax.random.uniform(key)
    return jax.nn.sigmoid(jax.random.normal(key))


def make(*, size: int, source_size: int = 0, channels: int = 3, min_area: float = 1.0,
         max_area: float = 1.0, method: Method = "cubic", flip_probability: float = 0.5,
         time: Times = "logit_normal", num_classes: int = 0, drop_probability: float = 0.1,
         mean: Sequence[float] = (0.5,), std: Sequence[float] = (0.5,)) -> Pretext:
    """Return the pretext.

    Args:
        size: height and width of an image, in pixels.
        source_size: height and width of stored images; `size` unless told.
        channels: 1 or 3.
        min_area: smallest fraction of the image that a square crop covers; samples are cropped
            like the images that were learned.
        max_area: largest.
        method: interpolation of crops.
        flip_probability: of mirroring; 0 where left and right mean something.
        time: how times are drawn.
        num_classes: of the records' labels; 0 leaves labels behind.
        drop_probability: of losing the label, which teaches the velocity without one that
            classifier-free guidance needs.
        mean: of each channel, in [0, 1] units.
        std: of each channel, in [0, 1] units; noise has a deviation of one.
    """
    if num_classes < 0 or not 0 <= drop_probability <= 1:
        raise ConfigError(f"flow_pairs num_classes {num_classes} and drop_probability "
                          f"{drop_probability}: expected 0 or more classes and a probability.")
    images = image_format(source_size, size, channels, mean, std)
    spec = images.spec() | ({"label": ((), "int32")} if num_classes else {})

    def example(record: Record, rng: np.random.Generator) -> Example:
        row = dict(images.example(record, rng))
        if num_classes:
            row["label"] = label_of(record, num_classes)
        return row

    def views(key: Key, example: Example) -> Example:
        k_crop, k_flip, k_noise, k_time, k_drop = jax.random.split(key, 5)
        image = to_unit(example["image"])
        box = random_box(k_crop, *image.shape[:2], min_area=min_area, max_area=max_area,
                         min_aspect=1.0, max_aspect=1.0)
        image = crop_resize(image, box, size=size, method=method).clip(0, 1)   # cubic overshoots
        image = random_flip(k_flip, image, probability=flip_probability)
        out = {"image": standardise(image, images.mean, images.std),
               "noise": jax.random.normal(k_noise, image.shape), "time": draw_time(k_time, time)}
        if num_classes:
            dropped = jax.random.bernoulli(k_drop, drop_probability)
            out["label"] = jnp.where(dropped, num_classes, example["label"])
        return out

    def render(batch: Batch) -> jax.Array:
        return from_standard(batch["image"], images.mean, images.std).clip(0, 1)

    return Pretext(example, images.plain, views, spec, render)


def label_of(record: Record, num_classes: int) -> np.int32:
    """Return the label of a record.

    Raises:
        DataError: it has none, or one beyond the classes.
    """
    label = record.get("label")
    if label is None or not 0 <= label < num_classes:
        raise DataError(f"label {label} of record {record['id']}; expected 0 to {num_classes - 1}. "
                        "Set num_classes to the source's, or to 0 to learn without labels.")
    return np.int32(label)
