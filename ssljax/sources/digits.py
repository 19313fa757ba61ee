"""Scikit-learn's bundled digits: 1,797 real handwritten digits of 8 by 8 pixels; no download.

Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80. Small and nearly saturated: it
shows that a method runs, not that it is good. Returns records {"id", "image": uint8 [8, 8, 1],
"label": int}.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ssljax.core.errors import needed
from ssljax.core.rng import hash64, record_id
from ssljax.core.source import Source

TINY: dict = {"split": "test"}
TRAIN_FRACTION = 0.8


def make(*, split: Literal["train", "test"] = "train") -> Source:
    """Return the digits of a split; about four fifths are "train", by hash of the index.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    load()
    return Digits(split)


@dataclasses.dataclass(frozen=True)
class Digits:
    """One split of the digits."""

    split: str

    def __len__(self) -> int:
        """Return the number of images."""
        return len(members(self.split))

    def read(self, indices: np.ndarray) -> list[dict[str, Any]]:
        """Return {"id": uint32 [2], "image": uint8 [8, 8, 1], "label": int} of each index."""
        images, labels = load()
        return [{"id": record_id("digits", int(i)), "image": images[i], "label": int(labels[i])}
                for i in members(self.split)[np.asarray(indices, np.int64)]]

    def fingerprint(self) -> Mapping[str, str]:
        """Return a hash of all images and labels, and the split."""
        digest = hashlib.sha256(b"".join(a.tobytes() for a in load())).hexdigest()
        return {"name": "digits", "sha256": digest, "split": self.split}


@functools.cache
def load() -> tuple[np.ndarray, np.ndarray]:
    """Return all images, uint8 [1797, 8, 8, 1] from 0 to 255, and labels, int64 [1797]."""
    with needed("scikit-learn", "digits"):
        from sklearn.datasets import load_digits
    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    images.setflags(write=False)        # records share this memory
    return images, bunch.target.astype(np.int64)


@functools.cache
def members(split: str) -> np.ndarray:
    """Return which of all images are in `split`, int64 [len]; fixed for all time."""
    train = np.array([hash64("digits", i) < TRAIN_FRACTION * 2**64 for i in range(len(load()[0]))])
    return np.flatnonzero(train if split == "train" else ~train)
