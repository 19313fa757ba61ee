"""The rounds of steps/image_duplicates.py: from records of hashes to verdicts.

same      images, by hash                         -> the best of each hash, by pieces of it
near      pieces                                  -> pairs of hashes some bits apart, links
large, small, families (near_rounds.py)           -> pairs, by component
survivors a component's pairs                     -> the survivor of each hash that has another's
copies    images and survivors, by hash           -> verdicts

Images of one hash are settled as one, so that a thousand blank images are not half a million pairs.
"""

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Channels, Context
from data_pipelines.kernels import clusters, perceptual
from data_pipelines.kernels.words import mix
from data_pipelines.near_rounds import both, row_keys
from data_pipelines.verdicts import verdicts

NODE = ("hash", "row", "quality", "length", "id", "cluster")


def ranked(images: pa.Table) -> pa.Table:
    """Return images in the order of preference."""
    order = clusters.preference(*(images[n].to_numpy() for n in ("quality", "length")),
                                images["id"].to_numpy().astype(str))
    return images.take(pa.array(order))


def first_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each distinct value comes first, and which of these each value has."""
    _, first, which = np.unique(values, return_index=True, return_inverse=True)
    return first, which


def same(channels: Channels, context: Context, *, within: int) -> Channels:
    """Return the best image of each hash, once for every piece of its hash."""
    del context
    images = ranked(channels["images"])
    best = images.take(pa.array(first_of(images["hash"].to_numpy())[0])).select(NODE)
    keys = [mix(piece * np.uint64(16) + np.uint64(number)) for number, piece in
            enumerate(perceptual.pieces(best["hash"].to_numpy(), within))]
    keyed = [best.add_column(0, "key", pa.array(key, pa.uint64())) for key in keys]
    none = best.slice(0, 0).add_column(0, "key", pa.array([], pa.uint64()))
    return {"pieces": pa.concat_tables([none, *keyed])}


def near(channels: Channels, context: Context, *, within: int) -> Channels:
    """Return the pairs of images that share a piece and are close, and their links."""
    del context
    found = channels["pieces"]
    pairs = perceptual.bucket_pairs(found["hash"].to_numpy(), found["key"].to_numpy(), within)
    pairs = np.concatenate([np.empty((0, 2), np.int64), *pairs])
    ends = found["row"].to_numpy()[pairs]
    pairs = np.where((ends[:, :1] > ends[:, 1:]), pairs[:, ::-1], pairs)
    edges = pa.table({"key": row_keys(ends.min(axis=1)), "a": ends.min(axis=1),
                      "b": ends.max(axis=1)})
    for side, places in zip("ab", pairs.T, strict=True):
        for name in NODE:
            edges = edges.append_column(f"{name}_{side}", found[name].take(pa.array(places)))
    return {"edges": edges, "links": both(np.sort(ends, axis=1))}


def survivors(channels: Channels, context: Context) -> Channels:
    """Return the survivor of each hash that is represented by another."""
    del context
    edges = channels["families"]
    nodes = ranked(pa.concat_tables([
        edges.select([f"{n}_{side}" for n in NODE]).rename_columns(NODE) for side in "ab"]))
    rows = nodes["row"].to_numpy()
    first, _ = first_of(rows)
    nodes = nodes.take(pa.array(np.sort(first)))       # distinct, still in order of preference
    rows = nodes["row"].to_numpy()
    by_row = np.argsort(rows)
    ends = np.stack([edges[n].to_numpy() for n in "ab"], axis=1)
    pairs = np.sort(by_row[np.searchsorted(rows[by_row], ends)], axis=1)
    chosen = clusters.survivors(len(rows), pairs)
    gone = np.flatnonzero(chosen != np.arange(len(rows)))
    theirs = nodes.take(pa.array(chosen[gone])).select(["hash", "id", "cluster"])
    own = nodes["hash"].to_numpy()[gone]
    return {"settled": pa.table({"key": mix(own), "own": own, **{
        n: theirs[n] for n in theirs.column_names}})}


def copies(channels: Channels, context: Context) -> Channels:
    """Return the verdicts on all images of each hash but the one that survives, if it does."""
    del context
    images, settled = ranked(channels["images"]), channels["settled"]
    hashes = images["hash"].to_numpy()
    first, which = first_of(hashes)
    survivor = {h: (h, i, c) for h, i, c in zip(*(
        images[n].take(pa.array(first)).to_pylist() for n in ("hash", "id", "cluster")),
        strict=True)}
    stays = np.zeros(len(hashes), bool)
    stays[first] = True
    for own, *theirs in zip(*(settled[n].to_pylist() for n in ("own", "hash", "id", "cluster")),
                            strict=True):
        survivor[own] = tuple(theirs)
    stays &= ~np.isin(hashes, settled["own"].to_numpy())
    gone = images.filter(pa.array(~stays))
    found = [survivor[h] for h in gone["hash"].to_pylist()]
    apart = perceptual.distance(gone["hash"].to_numpy(), np.array([f[0] for f in found], np.uint64))
    return {"verdicts": verdicts(
        gone["row"].to_numpy(), named=gone["cluster"].to_pylist(), cluster=[f[2] for f in found],
        dropped=["image_duplicate"] * len(found),
        detail=[f"{f[1]} {bits}" for f, bits in zip(found, apart.tolist(), strict=True)])}
