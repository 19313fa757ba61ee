"""Drop documents whose text another one has, letter for letter; the smallest id survives.

A grouped step: documents meet by a hash of their text. `detail` is the survivor's id and `cluster`
its cluster. Reads and returns the table of documents.
"""

import hashlib

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Channels, Context, Emitted, Grouped, Round
from data_pipelines.table import kept, texts
from data_pipelines.verdicts import apply_verdicts, verdicts


def make() -> Grouped:
    """Return the step; put `normalise` before it, so that equal text has one spelling."""
    return Grouped(emit, (Round("survivors", ("digests",), judge),), apply_verdicts)


def emit(table: pa.Table, first: int) -> Emitted:
    """Return the digest of every document kept so far."""
    rows = kept(table)
    digests = b"".join(map(digest, texts(table, rows)))
    halves = np.frombuffer(digests, np.uint64).reshape(-1, 2)
    names = {n: table[n].take(pa.array(rows)).combine_chunks() for n in ("id", "cluster")}
    return {"digests": pa.table({"key": halves[:, 0], "rest": halves[:, 1], "row": rows + first,
                                 **names})}


def judge(channels: Channels, context: Context) -> Channels:
    """Drop all but the smallest id of those whose digests are equal."""
    del context
    found = channels["digests"]
    ids = found["id"].to_numpy()
    key, rest = (found[n].to_numpy() for n in ("key", "rest"))
    order = np.lexsort((ids.astype(str), rest, key))
    key, rest = key[order], rest[order]
    new = np.ones(len(order), bool)
    new[1:] = (key[1:] != key[:-1]) | (rest[1:] != rest[:-1])
    survivor = order[np.flatnonzero(new)[np.cumsum(new) - 1]][~new]
    copies = order[~new]
    clusters = found["cluster"].to_numpy()
    return {"verdicts": verdicts(
        found["row"].to_numpy()[copies], named=clusters[copies], cluster=clusters[survivor],
        dropped=["exact_duplicate"] * len(copies), detail=ids[survivor])}


def digest(text: str) -> bytes:
    """Return a hash of the text without the white space around it, 16 bytes."""
    return hashlib.blake2b(text.strip().encode(), digest_size=16).digest()
