"""Grouped steps whose documents meet by an equal key: of a text, of an address.

Every document sends 16 bytes of its key and what it is preferred by; of those with one key the best
survives, by quality, then length, then id, and the others join its cluster.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Channels, Context, Emitted, Grouped, Round
from data_pipelines.kernels.clusters import preference
from data_pipelines.survivors import lengths, scores
from data_pipelines.table import kept
from data_pipelines.verdicts import apply_verdicts, verdicts

Keys = Callable[[pa.Table, np.ndarray], Sequence[str | None]]


def grouped(keys: Keys, reason: str, quality: str) -> Grouped:
    """Return the step that drops documents whose key a better one has.

    Args:
        keys: (table, rows) -> what these rows are compared by; None repeats nothing.
        reason: written into `dropped`; `detail` is the survivor's id.
        quality: column of numbers by which survivors are preferred; empty: length and id decide.
    """
    return Grouped(functools.partial(emit, keys=keys, quality=quality),
                   (Round("survivors", ("keys",), functools.partial(judge, reason=reason)),),
                   apply_verdicts)


def emit(table: pa.Table, first: int, *, keys: Keys, quality: str) -> Emitted:
    """Return the key of every document kept so far, and what it is preferred by."""
    rows = kept(table)
    found = keys(table, rows)
    has = np.array([k is not None for k in found], bool)
    rows = rows[has]
    data = b"".join(digest(k) for k in found if k is not None)
    halves = np.frombuffer(data, np.uint64).reshape(-1, 2)
    names = {n: table[n].take(pa.array(rows)).combine_chunks() for n in ("id", "cluster")}
    return {"keys": pa.table({"key": halves[:, 0], "rest": halves[:, 1], "row": rows + first,
                              "quality": scores(table, rows, quality),
                              "length": lengths(table, rows), **names})}


def judge(channels: Channels, context: Context, *, reason: str) -> Channels:
    """Drop all but the best of those whose keys are equal."""
    del context
    found = channels["keys"]
    ids, clusters = found["id"].to_numpy(), found["cluster"].to_numpy()
    best = preference(found["quality"].to_numpy(), found["length"].to_numpy(), ids.astype(str))
    key, rest = (found[n].to_numpy()[best] for n in ("key", "rest"))
    order = best[np.lexsort((rest, key))]           # stable: the best of a key stays in front
    key, rest = (found[n].to_numpy()[order] for n in ("key", "rest"))
    new = np.ones(len(order), bool)
    new[1:] = (key[1:] != key[:-1]) | (rest[1:] != rest[:-1])
    survivor = order[np.flatnonzero(new)[np.cumsum(new) - 1]][~new]
    copies = order[~new]
    return {"verdicts": verdicts(
        found["row"].to_numpy()[copies], named=clusters[copies], cluster=clusters[survivor],
        dropped=[reason] * len(copies), detail=ids[survivor])}


def digest(key: str) -> bytes:
    """Return a hash of a key, 16 bytes."""
    return hashlib.blake2b(key.encode(), digest_size=16).digest()
