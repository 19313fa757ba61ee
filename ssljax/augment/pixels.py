"""uint8 images to float32 in [0, 1], and on to zero mean and unit variance.

Written with operators alone, so the same lines serve NumPy on the host and jax on the device.
"""

from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np

Array = TypeVar("Array", np.ndarray, jax.Array)


def to_unit(image: Array) -> Array:
    """Map uint8 [..., H, W, C] to float32 in [0, 1]."""
    return image.astype(np.float32) / np.float32(255)


def standardise(image: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """Subtract the mean and divide by the standard deviation of each channel, in [0, 1] units."""
    return (image - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


def from_standard(image: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """Undo `standardise`; values may leave [0, 1] where a network made them."""
    return image * np.asarray(std, np.float32) + np.asarray(mean, np.float32)
