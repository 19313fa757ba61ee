"""Bring groups of documents (topics, languages, sources) to wanted shares of the mixture.

Reads and returns the table of documents, with a column `copies` (int32): how often the mixture has
the document, over 1 where its group is small. Documents of no copy are dropped as "balance", and
`detail` is their group. Which documents go depends on their ids alone. A grouped step: each block
sends the sizes of its groups, and all get the means back; memory grows with the number of groups.
Rules: data_pipelines/kernels/mixing.py.
"""

import functools
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.engine.plan import Channels, Context, Emitted, Grouped, Round
from data_pipelines.kernels.mixing import copies, temper, whole_copies
from data_pipelines.table import add_column, column, drop, kept
from ssljax.core.errors import ConfigError
from ssljax.core.rng import hash64


def make(*, by: str = "topic", shares: Mapping[str, float] | None = None, temperature: float = 0.0,
         least: float = 0.0, most: float = 4.0, total: float = 1.0, unit: str = "bytes") -> Grouped:
    """Return the step.

    Args:
        by: column that names groups.
        shares: group -> wanted share, any positive scale; groups not named are dropped.
        temperature: instead of shares, size^(1 / temperature); mT5's alpha 0.3 is 3.33.
        least: fewest mean copies of a group's documents.
        most: most mean copies.
        total: size of the mixture, as a share of what comes in.
        unit: "bytes" of text, or "documents".

    Raises:
        ConfigError: both or neither of shares and temperature, or limits that contradict.
    """
    if bool(shares) == bool(temperature) or temperature < 0 or any(
            s <= 0 for s in (shares or {}).values()):
        raise ConfigError(f"balance: shares {shares}, temperature {temperature}; expected positive "
                          "shares, or a positive temperature.")
    if not 0 <= least <= most or most <= 0 or total <= 0 or unit not in ("bytes", "documents"):
        raise ConfigError(f"balance: least {least}, most {most}, total {total}, unit {unit!r}; "
                          "expected 0 <= least <= most, a total over 0, bytes or documents.")

    wanted = functools.partial(means, shares=shares, temperature=temperature, total=total,
                               least=least, most=most)
    return Grouped(functools.partial(emit, by=by, unit=unit),
                   (Round("totals", ("sizes",), add_sizes),
                    Round("shares", ("sizes",), wanted, ("totals",))),
                   functools.partial(take, by=by))


def emit(table: pa.Table, first: int, *, by: str, unit: str) -> Emitted:
    """Return the size of each group of a block; its row is the block's first."""
    groups, measured = column(table, by), Counter[str]()
    sizes = (pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy() if unit == "bytes"
             else np.ones(table.num_rows, np.int64))
    for row in kept(table).tolist():
        measured[str(groups[row])] += int(sizes[row])
    return {"sizes": size_table(measured).append_column(
        "row", pa.array([first] * len(measured), pa.int64()))}


def size_table(measured: Mapping[str, int]) -> pa.Table:
    """Return sizes by the hash of their group."""
    keys = [hash64("balance", group) for group in measured]
    return pa.table([pa.array(keys, pa.uint64()), pa.array(measured.keys(), pa.string()),
                     pa.array(measured.values(), pa.int64())], ["key", "group", "size"])


def add_sizes(channels: Channels, context: Context) -> Channels:
    """Return the size of each group in all blocks."""
    del context
    measured: Counter[str] = Counter()
    for group, size in zip(*(column(channels["sizes"], n) for n in ("group", "size")), strict=True):
        measured[group] += size
    return {"totals": size_table(measured)}


def means(channels: Channels, context: Context, *, shares: Mapping[str, float] | None,
          temperature: float, total: float, least: float, most: float) -> Channels:
    """Return the mean copies of each block's groups."""
    del context
    totals = channels["totals"].sort_by("group")      # sums of floats have one order
    measured = dict(zip(column(totals, "group"), column(totals, "size"), strict=True))
    mean = copies(measured, shares or temper(measured, temperature),
                  total=total * sum(measured.values()), least=least, most=most)
    groups = column(channels["sizes"], "group")
    return {"verdicts": channels["sizes"].select(["row", "group"]).append_column(
        "mean", pa.array([mean[g] for g in groups], pa.float64()))}


def take(table: pa.Table, found: pa.Table, *, by: str) -> pa.Table:
    """Return the table of a block with the copies of its documents."""
    rows, groups, ids = kept(table), column(table, by), column(table, "id")
    mean = dict(zip(column(found, "group"), column(found, "mean"), strict=True))
    taken = whole_copies([ids[r] for r in rows], np.array([mean[str(groups[r])] for r in rows]))
    result: list[int | None] = [None] * table.num_rows
    for row, number in zip(rows.tolist(), taken.tolist(), strict=True):
        result[row] = number
    verdicts = {int(row): ("balance", str(groups[row])) for row in rows[taken == 0]}
    return drop(add_column(table, "copies", pa.array(result, pa.int32())), verdicts)
