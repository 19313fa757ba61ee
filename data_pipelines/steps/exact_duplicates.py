"""Drop documents whose text another one has, letter for letter.

Reads and returns the table of documents; `detail` is the survivor's id and `cluster` its cluster.
"""

import hashlib

import pyarrow as pa

from data_pipelines.survivors import drop_repeats, rank
from data_pipelines.table import Step, texts


def make(*, quality: str = "") -> Step:
    """Return the step; put `normalise` before it, so that equal text has one spelling.

    Args:
        quality: column of numbers by which survivors are preferred, such as one of the source;
            empty: the smallest id survives.
    """
    def apply(table: pa.Table) -> pa.Table:
        ranked = rank(table, quality)
        return drop_repeats(table, ranked, [digest(t) for t in texts(table, ranked)],
                            "exact_duplicate")

    return apply


def digest(text: str) -> bytes:
    """Return a hash of the text without the white space around it."""
    return hashlib.blake2b(text.strip().encode(), digest_size=16).digest()
