"""Logits of a classifier to probabilities and the names of its classes."""

from typing import Any

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


def judged(artefact: Artefact, logits: np.ndarray, top: int | None = None) -> dict[str, Any]:
    """Return one input's classes: the best, and all in their order or the `top` best first."""
    labels, probabilities = labels_of(artefact, len(logits)), softmax(logits)
    best = int(np.argmax(probabilities))
    order = range(len(labels)) if top is None else np.argsort(-probabilities, kind="stable")[:top]
    return {"label": labels[best], "probs": probabilities[order].tolist(),
            "labels": [labels[i] for i in order], "num_classes": len(labels)}
