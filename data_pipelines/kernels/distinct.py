"""Distinct values by sorting.

NumPy 2.3 and later hash in `np.unique`, unless it is asked for places or counts too: measured with
2.4.6, 500 to 1,500 ns a value where sorting takes 60. Reads and returns NumPy arrays.
"""

import numpy as np


def distinct(values: np.ndarray) -> np.ndarray:
    """Return the distinct values of an array of one dimension, ascending."""
    ordered = np.sort(values)
    new = np.ones(len(ordered), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return ordered[new]
