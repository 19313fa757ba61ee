"""Drop documents whose text another one has, letter for letter.

A grouped step: documents meet by a hash of their text. `detail` is the survivor's id and `cluster`
its cluster. Reads and returns the table of documents.
"""

import numpy as np
import pyarrow as pa

from data_pipelines import equal_keys
from data_pipelines.engine.plan import Grouped
from data_pipelines.table import texts


def make(*, quality: str = "") -> Grouped:
    """Return the step; put `normalise` before it, so that equal text has one spelling.

    Args:
        quality: column of numbers by which survivors are preferred; empty: the smallest id.
    """
    return equal_keys.grouped(stripped, "exact_duplicate", quality)


def stripped(table: pa.Table, rows: np.ndarray) -> list[str]:
    """Return the texts of some rows without the white space around them."""
    return [text.strip() for text in texts(table, rows)]
