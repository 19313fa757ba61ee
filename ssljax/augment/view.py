"""One random view of an image: crop, flip, colour jitter, grey, blur and solarise, in this order.

SimCLR, https://arxiv.org/abs/2002.05709 (appendix A), with the solarisation of BYOL,
https://arxiv.org/abs/2006.07733 (appendix B). What joint-embedding pretexts share.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from ssljax.augment.blur import random_blur
from ssljax.augment.crop import Method, random_crop
from ssljax.augment.flip import random_flip
from ssljax.augment.grayscale import random_grayscale
from ssljax.augment.jitter import random_jitter
from ssljax.augment.solarise import random_solarise
from ssljax.core.errors import ConfigError
from ssljax.core.types import Key

Strengths = tuple[float, float, float, float]
SIMCLR: Strengths = (0.8, 0.8, 0.8, 0.2)


class View(NamedTuple):
    """How one view is drawn; sizes in pixels, areas as fractions of the image.

    areas:  smallest and largest of a crop
    jitter: strengths of brightness, contrast, saturation and hue
    """

    size: int
    areas: tuple[float, float]
    method: Method
    flip_probability: float
    jitter: Strengths
    jitter_probability: float
    gray_probability: float
    blur_probability: float
    solarise_probability: float


def random_view(key: Key, image: jax.Array, view: View, *, cropped: bool = False) -> jax.Array:
    """Return a view [size, size, C] of one image.

    Args:
        key: of this draw.
        image: float32 [H, W, C] in [0, 1].
        view: how.
        cropped: whether the image is a random crop already, made while it was decoded.
    """
    k_crop, k_flip, k_jitter, k_gray, k_blur, k_solarise = jax.random.split(key, 6)
    image = random_crop(k_crop, image, size=view.size, areas=view.areas, method=view.method,
                        cropped=cropped)
    image = random_flip(k_flip, image, probability=view.flip_probability)
    # What never happens is left out: the draws are where-selected and would cost all the same.
    if view.jitter_probability and any(view.jitter):
        image = random_jitter(k_jitter, image, strengths=view.jitter,
                              probability=view.jitter_probability)
    if view.gray_probability:
        image = random_grayscale(k_gray, image, probability=view.gray_probability)
    if view.blur_probability:
        image = random_blur(k_blur, image, probability=view.blur_probability)
    if view.solarise_probability:
        image = random_solarise(k_solarise, image, probability=view.solarise_probability)
    return image


def strengths_of(jitter: float | Sequence[float]) -> Strengths:
    """Return the four strengths; a number scales SimCLR's.

    Raises:
        ConfigError: there are neither one nor four, one is negative, or the hue goes beyond half
            of the circle.
    """
    many = not isinstance(jitter, int | float)
    strengths = tuple(jitter) if many else tuple(jitter * s for s in SIMCLR)
    if len(strengths) != 4 or min(strengths) < 0 or strengths[3] > 0.5:
        raise ConfigError(f"pretext jitter {jitter}: expected a number that scales {SIMCLR}, or "
                          "four strengths of brightness, contrast, saturation and hue, none "
                          "negative and the hue at most 0.5.")
    return strengths


def of_each(name: str, value: float | Sequence[float], count: int) -> tuple[float, ...]:
    """Return a probability of each of `count` views; one number serves all.

    Raises:
        ConfigError: there are neither one nor `count`, or one is no probability.
    """
    values = (value,) * count if isinstance(value, int | float) else tuple(value)
    if len(values) != count or not all(0 <= v <= 1 for v in values):
        raise ConfigError(f"pretext {name} {value}: expected one probability, or {count}, one "
                          "for each kind of view.")
    return values
