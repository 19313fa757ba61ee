"""Bring groups of documents (topics, languages, sources) to wanted shares of the mixture.

Reads and returns the table of documents, with a column `copies` (int32): how often the mixture has
the document, over 1 where its group is small. Documents of no copy are dropped as "balance", and
`detail` is their group. Which documents go depends on their ids alone. Rules:
data_pipelines/kernels/mixing.py.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.kernels.mixing import copies, temper, whole_copies
from data_pipelines.table import Step, add_column, column, drop, kept
from ssljax.core.errors import ConfigError


def make(*, by: str = "topic", shares: Mapping[str, float] | None = None, temperature: float = 0.0,
         least: float = 0.0, most: float = 4.0, total: float = 1.0, unit: str = "bytes") -> Step:
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

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table)
        groups, ids = column(table, by), column(table, "id")
        sizes = (pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy() if unit == "bytes"
                 else np.ones(table.num_rows, np.int64))
        measured: Counter[str] = Counter()
        for row in rows.tolist():
            measured[str(groups[row])] += int(sizes[row])
        wanted = shares or temper(measured, temperature)
        mean = copies(measured, wanted, total=total * sum(measured.values()), least=least,
                      most=most)
        taken = whole_copies([ids[r] for r in rows], np.array([mean[str(groups[r])] for r in rows]))
        result: list[int | None] = [None] * table.num_rows
        for row, number in zip(rows.tolist(), taken.tolist(), strict=True):
            result[row] = number
        verdicts = {int(row): ("balance", str(groups[row])) for row in rows[taken == 0]}
        return drop(add_column(table, "copies", pa.array(result, pa.int32())), verdicts)

    return apply
