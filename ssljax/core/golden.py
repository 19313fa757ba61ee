"""What an artefact keeps of a function's answers, small, yet moved by any change of any of them.

Of each answer, some entries and the norms of its rows: of logits over 50,000 ids a few kilobytes.
Arguments too large to keep, such as caches, follow from their shape. Writer and reader share this.
"""

from collections.abc import Sequence

import numpy as np

ENTRIES = 2048            # kept of one answer at most, and of its norms


def fill(shape: Sequence[int]) -> np.ndarray:
    """Return the argument of this shape: float32 waves around zero, the same on every machine."""
    count = int(np.prod(shape))
    return (0.1 * np.cos(np.arange(count, dtype=np.float64))).astype(np.float32).reshape(shape)


def summary(answer: np.ndarray) -> dict[str, np.ndarray]:
    """Return {"entries", "norms"} of an answer [.., n], float32: evenly spaced ones of each."""
    answer = np.asarray(answer, np.float32)
    norms = np.sqrt(np.sum(np.square(answer, dtype=np.float64), axis=-1))
    return {"entries": spaced(answer), "norms": spaced(norms)}


def spaced(values: np.ndarray) -> np.ndarray:
    """Return at most ENTRIES evenly spaced values, as float32 [m]."""
    flat = np.asarray(values).ravel()
    at = np.linspace(0, max(flat.size - 1, 0), min(flat.size, ENTRIES)).astype(np.int64)
    return flat[at].astype(np.float32)
