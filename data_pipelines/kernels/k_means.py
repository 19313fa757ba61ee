"""Spherical k-means that gives the same clusters on every run, for any order of rows.

Dhillon and Modha 2001 (https://doi.org/10.1023/A:1007612920971), begun as k-means++ (Arthur and
Vassilvitskii 2007) from a keyed generator. Products are taken without BLAS, whose sums depend on
how many rows it is handed. Reads rows of length one, returns centres and the nearest of each row.
"""

import numpy as np

BLOCK = 4096                   # rows whose products with all centres are held at a time


def fit_centres(rows: np.ndarray, clusters: int, *, seed: int = 0,
                iterations: int = 30) -> np.ndarray:
    """Return centres of length one, float64 [clusters, D], the one of most rows first.

    Args:
        rows: float64 [n, D], each of length one.
        clusters: how many; fewer where there are fewer distinct rows.
        seed: of the first centres.
        iterations: most rounds.
    """
    rows = rows[np.lexsort(rows.T[::-1])]       # any order of rows is the same beginning
    centres = first_centres(rows, clusters, np.random.Generator(np.random.Philox(seed)))
    nearest = np.full(len(rows), -1)
    for _ in range(iterations):
        previous, nearest = nearest, assign(rows, centres)
        if (nearest == previous).all():
            break
        sums = np.stack([rows[nearest == k].sum(axis=0) for k in range(len(centres))])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 1e-12, sums / np.maximum(lengths, 1e-12), centres)
    sizes = np.bincount(assign(rows, centres), minlength=len(centres))
    return centres[np.argsort(-sizes, kind="stable")]


def first_centres(rows: np.ndarray, clusters: int, draw: np.random.Generator) -> np.ndarray:
    """Return rows drawn in proportion to their squared distance from those before."""
    chosen = [rows[draw.integers(len(rows))]]
    distance = np.full(len(rows), np.inf)
    while len(chosen) < clusters:
        distance = np.minimum(distance, np.maximum(0, 1 - np.einsum("nd,d->n", rows, chosen[-1])))
        distance[distance < 1e-12] = 0
        if not distance.any():
            break
        odds = np.cumsum(distance)
        chosen.append(rows[np.searchsorted(odds, draw.random() * odds[-1], "right")])
    return np.stack(chosen)


def assign(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the centre of the largest cosine for each row, int64 [n]; of equals the first."""
    blocks = [np.einsum("nd,kd->nk", rows[i:i + BLOCK], centres).argmax(axis=1)
              for i in range(0, len(rows), BLOCK)]
    return np.concatenate([np.empty(0, np.int64), *blocks])
