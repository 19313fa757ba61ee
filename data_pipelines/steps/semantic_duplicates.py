"""Drop documents that mean what a better one means, by a column of embeddings.

Any embedding serves: of text, images or sound, made by a step before or by a model in batch.
Reads and returns the table of documents, the same for any order of rows; `detail` is "<survivor's
id> <cosine>" and `cluster` the survivor's. Rows without an embedding repeat nothing.

A grouped step: centres are learned from a sample by hash of the id, every row goes to the nearest,
and each cluster is judged alone. In memory are the sample (SAMPLE rows), or one cluster.
"""

import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.engine.plan import Channels, Context, Emitted, Grouped, Round, Rows
from data_pipelines.kernels import clusters, semantic
from data_pipelines.near_rounds import name_keys, row_keys
from data_pipelines.survivors import lengths, require, scores
from data_pipelines.table import kept
from data_pipelines.verdicts import apply_verdicts, verdicts
from ssljax.core.errors import ConfigError, DataError

SAMPLE = 1 << 16               # rows that centres are learned from: 200 MB of 768 numbers each
MOST = 4096                    # clusters: sixteen rows of the sample each
CHUNK = 1 << 13                # rows assigned at a time
FACTS = np.dtype([("quality", np.float64), ("length", np.int64), ("id", "S16"),
                  ("named", "S16"), ("numbers", np.int64)])


def make(*, embedding: str = "embedding", at_least: float = 0.95, per_cluster: int = 1000,
         seed: int = 0, quality: str = "") -> Grouped:
    """Return the step.

    Args:
        embedding: column of lists of numbers, all of one length.
        at_least: cosine similarity from which a document is a copy; depends on the embedding.
        per_cluster: documents of a cluster on average, up to MOST clusters; fewer are faster and
            find less.
        seed: of k-means.
        quality: column of numbers by which survivors are preferred; empty: length and id decide.

    Raises:
        ConfigError: settings that cannot be.
    """
    if not 0 < at_least <= 1 or per_cluster < 1:
        raise ConfigError(f"semantic_duplicates: at_least {at_least}, per_cluster {per_cluster}; "
                          "expected a cosine from 0 to 1, and at least 1 document.")

    return Grouped(
        functools.partial(emit, embedding=embedding, quality=quality),
        (Round("sample", ("draws",), sample),
         Round("centres", ("sample",), functools.partial(learn, per_cluster=per_cluster, seed=seed,
                                                         name=embedding)),
         Round("assign", ("draws",), functools.partial(assign, name=embedding), ("centres",)),
         Round("survivors", ("members",), functools.partial(judge, at_least=at_least,
                                                            name=embedding))),
        apply_verdicts)


def emit(table: pa.Table, first: int, *, embedding: str, quality: str) -> Emitted:
    """Return the embeddings of a block, at length one, and a hash of each row that has one."""
    rows = kept(table)
    values = require(table, embedding).take(pa.array(rows, pa.int64()))
    valid = values.is_valid().to_numpy()
    rows, values = rows[valid], values.drop_null()
    made = semantic.unit(matrix(values, embedding)) if len(rows) else np.empty((0, 2), np.float32)
    known = np.zeros(len(rows), FACTS)
    known["quality"] = scores(table, rows, quality)
    known["length"], known["numbers"] = lengths(table, rows), made.shape[1]
    for field, name in (("id", "id"), ("named", "cluster")):
        known[field] = np.array(table[name].take(pa.array(rows)).to_pylist(), "S16")
    width = -(-made.shape[1] // 2)                    # two numbers to a value of 64 bits
    padded = np.zeros((len(rows), 2 * width), np.float32)
    padded[:, :made.shape[1]] = made
    return {"draws": pa.table({"key": name_keys([i.decode() for i in known["id"]]),
                               "row": rows + first}),
            "embeddings": Rows(rows + first, known, padded.view(np.uint64).ravel(),
                               np.arange(len(rows) + 1) * width)}


def sample(channels: Channels, context: Context) -> Channels:
    """Return the rows that centres are learned from, all in one partition."""
    draws = channels["draws"]
    keys = draws["key"].to_numpy()
    taken = keys < SAMPLE / max(SAMPLE, context.kept) * 2.0**64
    return {"sample": pa.table({"key": np.zeros(int(taken.sum()), np.uint64), "draw": keys[taken],
                                "row": draws["row"].to_numpy()[taken]})}


def learn(channels: Channels, context: Context, *, per_cluster: int, seed: int,
          name: str) -> Channels:
    """Return the centres of clusters."""
    rows = channels["sample"]["row"].to_numpy()
    centres = np.empty((0, 1), np.float32)
    if len(rows):
        count = min(-(-context.kept // per_cluster), MOST, len(rows))
        order = np.argsort(channels["sample"]["draw"].to_numpy())
        found, _ = fetch(context, np.sort(rows), name)
        by_draw = found[np.searchsorted(np.sort(rows), rows[order])]
        centres = semantic.centroids(by_draw, count, seed=seed)
    return {"centres": pa.table({
        "key": np.arange(len(centres), dtype=np.uint64),
        "centre": pa.array(list(centres), pa.list_(pa.float32()))})}


def assign(channels: Channels, context: Context, *, name: str) -> Channels:
    """Return the cluster of each row."""
    rows = np.sort(channels["draws"]["row"].to_numpy())
    if not len(rows):
        return {"members": member_table(rows, rows)}
    centres = channels["centres"].sort_by("key")["centre"]
    stacked = np.stack(centres.to_numpy())
    nearest = [semantic.assign(fetch(context, rows[i:i + CHUNK], name)[0], stacked)
               for i in range(0, len(rows), CHUNK)]
    return {"members": member_table(rows, np.concatenate(nearest))}


def member_table(rows: np.ndarray, nearest: np.ndarray) -> pa.Table:
    """Return rows by their cluster."""
    return pa.table({"key": row_keys(nearest), "cluster": nearest, "row": rows})


def judge(channels: Channels, context: Context, *, at_least: float, name: str) -> Channels:
    """Return the verdicts on whole clusters."""
    nearest, rows = (channels["members"][n].to_numpy() for n in ("cluster", "row"))
    found = [judge_cluster(np.sort(rows[nearest == c]), context, at_least, name)
             for c in np.unique(nearest)]
    none = verdicts(rows[:0], named=[], cluster=[])
    return {"verdicts": pa.concat_tables([none, *found])}


def judge_cluster(rows: np.ndarray, context: Context, at_least: float, name: str) -> pa.Table:
    """Return the verdicts on one cluster, whose rows are increasing."""
    made, known = fetch(context, rows, name)
    ids = known["id"].astype(str)
    order = clusters.preference(known["quality"], known["length"], ids)
    made, known, ids, rows = made[order], known[order], ids[order], rows[order]
    survivor = semantic.representatives(made, at_least)
    gone = np.flatnonzero(survivor != np.arange(len(rows)))
    best, named = survivor[gone], known["named"].astype(str)
    alike = np.einsum("ne,ne->n", made[gone], made[best], dtype=np.float64)
    return verdicts(rows[gone], named=named[gone], cluster=named[best],
                    dropped=["semantic_duplicate"] * len(gone),
                    detail=[f"{i} {a:.3f}" for i, a in zip(ids[best], alike, strict=True)])


def fetch(context: Context, rows: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings, float32 [n, E], and what is known, of some rows, increasing.

    Raises:
        DataError: embeddings of different lengths.
    """
    found = context.fetch("embeddings", rows)
    sizes = found.fixed["numbers"]
    check_sizes(sizes, name)
    values = found.values.view(np.float32).reshape(len(rows), -1)
    return values[:, :int(sizes[0])], found.fixed


def matrix(values: pa.ChunkedArray, name: str) -> np.ndarray:
    """Return a column of lists as float32 [n, E].

    Raises:
        DataError: lists of different lengths, or of none.
    """
    sizes = pc.list_value_length(values).to_numpy()
    check_sizes(sizes, name)
    flat = pc.list_flatten(values).cast(pa.float32())
    return flat.to_numpy().reshape(-1, int(sizes[0]))


def check_sizes(sizes: np.ndarray, name: str) -> None:
    """Raise DataError unless all embeddings have as many numbers, and some."""
    if len(set(sizes.tolist())) != 1 or not sizes[0]:
        raise DataError(f'Embeddings of column "{name}" have {sizes.min()} to {sizes.max()} '
                        "numbers; expected as many in each, made by one model.")
