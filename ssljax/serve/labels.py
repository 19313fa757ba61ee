"""Logits of a classifier to probabilities and the names of its classes."""

import numpy as np

from ssljax.serve.artefact import Artefact


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities of logits [K], float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()


def labels_of(artefact: Artefact, count: int) -> list[str]:
    """Return the names of the classes; their numbers where the manifest has no names."""
    labels = artefact.manifest["functions"]["classify"].get("labels") or ()
    known = len(labels) == count
    return [str(label) for label in labels] if known else [str(n) for n in range(count)]
