"""The rounds of steps/near_duplicates.py: from records of signatures to verdicts.

candidates  bands and sampled shingles, by key      -> pairs, by their first row
verify      pairs, with both documents' shingles    -> edges that are true, links of the graph
large, small  links, by node                        -> links to the smallest of each component
families    edges with their component              -> edges, by component
judge       a component's edges                     -> verdicts, new names of clusters
follow      rows in clusters of others' names       -> verdicts

Each sees one partition, which has all records of a key; memory is that of one partition.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Channels, Context
from data_pipelines.kernels import bands, clusters, containment, stars
from data_pipelines.kernels import verify as exact
from data_pipelines.kernels.minhash import Shingles
from data_pipelines.kernels.words import mix
from data_pipelines.verdicts import verdicts

FACTS = np.dtype([("quality", np.float64), ("length", np.int64), ("id", "S16")])
CHUNK = 1 << 14                # pairs verified at a time: 40 MB of shingles, 16 of signatures
JUDGED = ("quality", "length", "id")


def name_keys(names: Sequence[str]) -> np.ndarray:
    """Return keys by which records of the same cluster meet, uint64 [n]."""
    return np.array([int.from_bytes(hashlib.blake2b(n.encode(), digest_size=8).digest(), "little")
                     for n in names], np.uint64)


def row_keys(rows: np.ndarray) -> np.ndarray:
    """Return keys by which records of the same row meet, uint64 [n]."""
    return mix(mix(rows.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)))


def candidates(channels: Channels, context: Context) -> Channels:
    """Return pairs that agree in a band (shared 0), and that share rare shingles (how many)."""
    del context
    alike = band_candidates(channels["bands"])
    inside, shared, smaller = sketch_candidates(channels["sketch"])
    pairs, none = np.concatenate([alike, inside]), np.zeros(len(alike), np.int64)
    return {"pairs": pa.table({"key": row_keys(pairs[:, 0]), "a": pairs[:, 0], "b": pairs[:, 1],
                               "shared": np.concatenate([none, shared]),
                               "smaller": np.concatenate([none, smaller])})}


def band_candidates(records: pa.Table) -> np.ndarray:
    """Return the pairs of a partition's buckets, smaller row first, int64 [n, 2]."""
    keys = records["key"].to_numpy()
    order = np.argsort(keys, kind="stable")
    some = order[bands.repeated(keys[order])]      # most keys are alone; the rest is a fifth
    rows, first, at = np.unique(records["row"].to_numpy()[some], return_index=True,
                                return_inverse=True)
    ranked = np.lexsort((rows, records["preference"].to_numpy()[some][first]))
    rank = np.empty(len(rows), np.int64)
    rank[ranked] = np.arange(len(rows))
    pairs = bands.band_pairs(keys[some], records["following"].to_numpy()[some], rank[at])
    return np.sort(rows[ranked][pairs], axis=1)


def sketch_candidates(records: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs of rows that share shingles few documents have, and how many, int64 [n].

    The last is how many were sampled of the document that has fewer.
    """
    rows = records["row"].to_numpy()
    pairs, shared = containment.sharing(records["key"].to_numpy(), rows)
    # Records are in the order of their blocks, so rows increase, and one of a row's is found.
    sampled = records["sampled"].to_numpy()[np.searchsorted(rows, pairs)]
    return pairs, shared, sampled.min(axis=1)


def verify(channels: Channels, context: Context, *, least: float) -> Channels:
    """Return the pairs of which the smaller shares `least` of its shingles, counted exactly."""
    found = merge(channels["pairs"])
    promising = np.concatenate([np.empty((0, 2), np.int64), *(
        found.pairs[i:i + CHUNK][promise(Found(*(f[i:i + CHUNK] for f in found)), context, least)]
        for i in range(0, len(found.pairs), CHUNK))])
    edges = pa.concat_tables([measure(promising[i:i + CHUNK], context, least)
                              for i in range(0, max(1, len(promising)), CHUNK)])
    a, b = edges["a"].to_numpy(), edges["b"].to_numpy()
    return {"edges": edges, "links": both(np.stack([a, b], axis=1))}


class Found(NamedTuple):
    """Distinct pairs in order, and why each was found.

    pairs:   int64 [n, 2]
    shared:  int64 [n], sampled shingles that both have
    smaller: int64 [n], sampled shingles of the one that has fewer; 0 where none is shared
    banded:  bool [n], a band has found it
    """

    pairs: np.ndarray
    shared: np.ndarray
    smaller: np.ndarray
    banded: np.ndarray


def merge(records: pa.Table) -> Found:
    """Return what all partitions found of each pair."""
    a, b, shared, smaller = (records[n].to_numpy() for n in ("a", "b", "shared", "smaller"))
    order = np.lexsort((b, a))
    pairs, shared, smaller = np.stack([a, b], axis=1)[order], shared[order], smaller[order]
    if not len(pairs):
        return Found(pairs, shared, smaller, shared > 0)
    first = np.flatnonzero(np.append(True, (pairs[1:] != pairs[:-1]).any(axis=1)))
    return Found(pairs[first], np.add.reduceat(shared, first),
                 np.maximum.reduceat(smaller, first), np.logical_or.reduceat(shared == 0, first))


def promise(found: Found, context: Context, least: float) -> np.ndarray:
    """Say which pairs are worth counting: by signatures, or by the sample they share, bool [n]."""
    result = (found.shared > 0) & (found.shared >= found.smaller * least / 2)
    open_pairs = np.flatnonzero(found.banded & ~result)
    rows, at = np.unique(found.pairs[open_pairs], return_inverse=True)
    if len(rows):
        signatures = context.fetch("signed", rows).fixed["signature"]
        # Four standard deviations of the estimate: one in 30,000 pairs at the threshold is lost.
        alike = bands.agreement(signatures, at.reshape(-1, 2))
        result[open_pairs] = alike >= least - 2 / signatures.shape[1]**0.5
    return result


def measure(pairs: np.ndarray, context: Context, least: float) -> pa.Table:
    """Return the edges among some pairs, from all of their shingles."""
    rows, at = np.unique(pairs, return_inverse=True)
    at = at.reshape(-1, 2)
    if not len(rows):
        return edge_table(pairs, np.empty(0), np.empty(0, FACTS), at)
    found = context.fetch("sets", rows)
    sets = Shingles(found.values, found.starts)
    jaccard, contained = exact.similarity(exact.common(sets, at), sets.counts()[at])
    true = contained >= least
    return edge_table(pairs[true], jaccard[true], found.fixed, at[true])


def edge_table(pairs: np.ndarray, jaccard: np.ndarray, known: np.ndarray,
               at: np.ndarray) -> pa.Table:
    """Return true pairs with what decides between their documents."""
    columns = {"key": row_keys(pairs[:, 0]), "a": pairs[:, 0], "b": pairs[:, 1],
               "jaccard": jaccard}
    for side, places in zip("ab", at.T, strict=True):
        for name in JUDGED:
            values = known[name][places]
            columns[f"{name}_{side}"] = pa.array(values, pa.binary(16)) if name == "id" else values
    return pa.table(columns)


def both(pairs: np.ndarray) -> pa.Table:
    """Return links in both directions, by their first node."""
    return links(np.concatenate([pairs, pairs[:, ::-1]]))


def links(edges: np.ndarray) -> pa.Table:
    """Return links by their first node."""
    return pa.table({"key": row_keys(edges[:, 0]), "node": edges[:, 0], "other": edges[:, 1]})


def edges_of(table: pa.Table) -> np.ndarray:
    """Return links as int64 [n, 2]."""
    return np.stack([table["node"].to_numpy(), table["other"].to_numpy()], axis=1)


def large(channels: Channels, context: Context) -> Channels:
    """Do the large-star operation."""
    del context
    return {"down": links(stars.large_star(edges_of(channels["links"])))}


def small(channels: Channels, context: Context) -> Channels:
    """Do the small-star operation."""
    del context
    return {"links": links(stars.small_star(edges_of(channels["down"])))}


def families(channels: Channels, context: Context) -> Channels:
    """Return edges by the smallest row of their component."""
    del context
    edges = channels["edges"]
    near = stars.distinct(edges_of(channels["links"]))
    nodes, first = np.unique(near[:, 0], return_index=True)
    a = edges["a"].to_numpy()
    root = np.minimum(a, near[first, 1][np.searchsorted(nodes, a)]) if len(a) else a
    return {"families": edges.set_column(0, "key", pa.array(row_keys(root)))}


def judge(channels: Channels, context: Context, *, drop: float) -> Channels:
    """Return the verdicts on whole components, and the names their clusters had and get."""
    del context
    edges = channels["families"]
    rows, at, known = nodes_of(edges)
    ids = known["id"].astype(str)
    ranked = clusters.preference(known["quality"], known["length"], ids)
    rank = np.empty(len(rows), np.int64)
    rank[ranked] = np.arange(len(rows))
    pairs = np.sort(rank[at], axis=1)
    jaccard = edges["jaccard"].to_numpy()
    copies = jaccard >= drop
    survivor = clusters.survivors(len(rows), pairs[copies])
    similarity = dict(zip(map(tuple, pairs[copies].tolist()), jaccard[copies], strict=True))
    names = ids[ranked]
    gone = survivor != np.arange(len(rows))
    detail = [f"{names[s]} {similarity[s, d]:.3f}" if s != d else None
              for d, s in enumerate(survivor.tolist())]
    new = names[clusters.components(len(rows), pairs)]
    return {"verdicts": verdicts(rows[ranked], named=names, cluster=new, detail=detail,
                                 dropped=np.where(gone, "near_duplicate", None)),
            "renamed": pa.table({"key": name_keys(names.tolist()), "named": pa.array(
                names, pa.string()), "cluster": pa.array(new, pa.string())})}


def nodes_of(edges: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, the place of each edge's two among them, int64 [n, 2], and what is known."""
    ends = np.concatenate([edges[n].to_numpy() for n in "ab"])
    rows, first, at = np.unique(ends, return_index=True, return_inverse=True)
    known = np.empty(len(rows), FACTS)
    for name in JUDGED:
        values = pa.chunked_array([*edges[f"{name}_a"].chunks, *edges[f"{name}_b"].chunks])
        known[name] = values.take(pa.array(first)).to_numpy() if len(rows) else []
    return rows, at.reshape(2, -1).T, known


def follow(channels: Channels, context: Context) -> Channels:
    """Return verdicts for rows whose cluster has got another name."""
    del context
    renamed: dict[str, str] = dict(pairs_of(channels["renamed"], ("named", "cluster")))
    moved = [(row, c) for row, c in pairs_of(channels["repeats"], ("row", "cluster"))
             if c in renamed]
    return {"verdicts": verdicts(np.array([r for r, _ in moved], np.int64),
                                 named=[c for _, c in moved],
                                 cluster=[renamed[c] for _, c in moved])}


def pairs_of(table: pa.Table, names: tuple[str, str]) -> Iterable[tuple]:
    """Return the rows of two columns."""
    return zip(*(table[n].to_pylist() for n in names), strict=True)
