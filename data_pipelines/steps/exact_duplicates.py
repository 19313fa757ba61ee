"""Drop documents whose text another one has, letter for letter; the smallest id survives.

Reads and returns the table of documents; `detail` is the survivor's id and `cluster` its cluster.
"""

import hashlib

import pyarrow as pa

from data_pipelines.table import Step, column, drop, kept, replace, texts


def make() -> Step:
    """Return the step; put `normalise` before it, so that equal text has one spelling."""
    def apply(table: pa.Table) -> pa.Table:
        ids, clusters = column(table, "id"), column(table, "cluster")
        first: dict[bytes, int] = {}
        verdicts = {}
        hashed = zip(kept(table).tolist(), map(digest, texts(table, kept(table))), strict=True)
        for row, key in sorted(hashed, key=lambda pair: ids[pair[0]]):
            survivor = first.setdefault(key, row)
            if survivor != row:
                verdicts[row] = ("exact_duplicate", ids[survivor])
                clusters[row] = clusters[survivor]
        return replace(drop(table, verdicts), "cluster", clusters)

    return apply


def digest(text: str) -> bytes:
    """Return a hash of the text without the white space around it."""
    return hashlib.blake2b(text.strip().encode(), digest_size=16).digest()
