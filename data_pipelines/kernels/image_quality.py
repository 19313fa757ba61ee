"""What a decoded image measures: sharpness and information.

Reads grey images, uint8 [H, W]; returns floats.
"""

import numpy as np


def sharpness(grey: np.ndarray) -> float:
    """Return the variance of the Laplacian, small where nothing has an edge.

    Pech-Pacheco et al. 2000 (https://doi.org/10.1109/ICPR.2000.903548), four neighbours, borders
    left out; 0 for an image under three pixels wide or high.
    """
    if min(grey.shape) < 3:
        return 0.0
    x = grey.astype(np.float32)
    edges = (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:] - 4 * x[1:-1, 1:-1])
    return float(edges.var(dtype=np.float64))


def entropy(grey: np.ndarray) -> float:
    """Return the entropy of the histogram of grey levels, bits a pixel, from 0 to 8."""
    share = np.bincount(grey.ravel(), minlength=256) / max(1, grey.size)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum() + 0.0)      # no minus nought


def aspect(width: int, height: int) -> float:
    """Return the longer side over the shorter, at least 1."""
    return max(width, height) / min(width, height)
