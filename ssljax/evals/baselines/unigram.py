"""A byte model without context: how often each byte and the end of a document occur.

Smoothed by adding one half to each of the 257 counts (Krichevsky and Trofimov, "The performance of
universal encoding", 1981, https://doi.org/10.1109/TIT.1981.1056331).
"""

from collections.abc import Iterable, Sequence

import numpy as np

SYMBOLS = 257           # the bytes, and 256: the end of a document


def histogram(document: bytes) -> np.ndarray:
    """Return how often each symbol occurs in a document and its end, int64 [257]."""
    counts = np.bincount(np.frombuffer(document, np.uint8), minlength=SYMBOLS)
    counts[-1] = 1
    return counts


def fit(train: Iterable[bytes]) -> np.ndarray:
    """Return the log probability in nats of each symbol, float64 [257]."""
    counts = np.full(SYMBOLS, 0.5)
    for document in train:
        counts += histogram(document)
    return np.log(counts / counts.sum())


def document_nats(train: Iterable[bytes], held_out: Sequence[bytes]) -> np.ndarray:
    """Return the nats of each held-out document and its end, float64 [documents]."""
    log_probs = fit(train)
    return np.array([-histogram(document) @ log_probs for document in held_out])
