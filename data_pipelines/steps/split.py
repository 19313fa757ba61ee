"""Train or validation by hash of a document's cluster: what repeats stays on one side.

Never by position or by file: copies and vendored files would be on both sides, and the validation
figure would measure memory. A document's side depends on its cluster only, so other data added
later does not move it. A grouped step: documents meet by their cluster's hash. Reads and returns
the table of documents.
"""

import functools

import numpy as np
import pyarrow as pa

from data_pipelines.engine.plan import Channels, Context, Emitted, Grouped, Round
from data_pipelines.table import column, kept, replace
from ssljax.core.errors import ConfigError
from ssljax.core.rng import hash64

ROW = pa.schema([("row", pa.int64())])
TOTALS = pa.schema([("key", pa.uint64()), ("clusters", pa.int64()), ("chosen", pa.int64())])
LEAST = pa.schema([("key", pa.uint64()), ("place", pa.uint64()), ("row", pa.int64())])


def make(*, validation_fraction: float = 0.05, max_share: float = 0.25) -> Grouped:
    """Return the step.

    Args:
        validation_fraction: of the documents, in expectation.
        max_share: the largest part of the validation split that one cluster may be; larger ones
            (pages of one template) train, lest they decide the validation figure.

    Raises:
        ConfigError: a fraction that leaves a side empty.
    """
    if not 0 < validation_fraction < 1:
        raise ConfigError(f"validation_fraction {validation_fraction}; expected more than 0 and "
                          "less than 1, such as 0.05.")
    choose = functools.partial(sides, fraction=validation_fraction, share=max_share)
    return Grouped(emit, (Round("sides", ("places",), choose),
                          Round("least", ("totals", "least"), least)), apply)


def emit(table: pa.Table, first: int) -> Emitted:
    """Return the place of every document kept, a hash of its cluster."""
    rows = kept(table)
    clusters = column(table, "cluster")
    places = {c: hash64("split", c) for c in set(clusters)}
    return {"places": pa.table({"key": np.array([places[clusters[r]] for r in rows], np.uint64),
                                "row": rows + first})}


def sides(channels: Channels, context: Context, *, fraction: float, share: float) -> Channels:
    """Choose clusters for validation by place; name the least place for `least`."""
    places, at, sizes = np.unique(channels["places"]["key"].to_numpy(), return_inverse=True,
                                  return_counts=True)
    rows = channels["places"]["row"].to_numpy()
    small = sizes <= max(1, share * fraction * context.kept)
    chosen = small & (places < fraction * 2**64)
    first = rows[at == np.argmax(small)] if small.any() else rows[:0]
    place = places[np.argmax(small)] if small.any() else 0
    zeros = np.zeros(len(first), np.uint64)
    return {"verdicts": pa.table([rows[chosen[at]]], schema=ROW),
            "totals": pa.table([np.zeros(1, np.uint64), [len(places)], [int(chosen.sum())]],
                               schema=TOTALS),
            "least": pa.table([zeros, zeros + place, first], schema=LEAST)}


def least(channels: Channels, context: Context) -> Channels:
    """Choose the cluster of the least place where there are two to choose from, and none was."""
    del context
    clusters, chosen = (channels["totals"][n].to_numpy().sum() for n in ("clusters", "chosen"))
    place, rows = (channels["least"][n].to_numpy() for n in ("place", "row"))
    if chosen or clusters < 2:
        return {"verdicts": pa.table([rows[:0]], schema=ROW)}
    return {"verdicts": pa.table([rows[place == place.min(initial=2**64 - 1)]], schema=ROW)}


def apply(table: pa.Table, verdicts: pa.Table) -> pa.Table:
    """Return a block with validation where a verdict says so, train for the rest that is kept."""
    splits = np.full(table.num_rows, None, object)
    splits[kept(table)] = "train"
    splits[verdicts["row"].to_numpy()] = "validation"
    return replace(table, "split", splits)
