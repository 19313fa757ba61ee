"""Rows to look at: the same ones for one seed, whatever the order of the files.

Of every reason, and of the rows kept, those whose ids have the least hashes. Reads tables of rows;
holds `count` of each reason, their texts cut to EXCERPT characters.
"""

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.kernels.words import mix
from ssljax.core.rng import hash64

EXCERPT = 1200                 # characters
Row = Mapping[str, Any]


class Samples:
    """Keeps some rows of each (step, reason); kept rows are those of two empty names."""

    def __init__(self, count: int, seed: int, *, of_kept: int):
        """Keep `count` dropped rows of each reason, and `of_kept` that were kept."""
        self.count, self.of_kept = count, of_kept
        self.salt = np.uint64(hash64("report", seed))
        self.held: dict[tuple[str, str], list[tuple[int, str, Row]]] = {}

    def offer(self, table: pa.Table) -> None:
        """Take note of some rows."""
        order = keys(table["id"], self.salt)
        found = table["dropped"].combine_chunks().dictionary_encode("encode")
        numbers = found.indices.to_numpy(zero_copy_only=False)
        for number, reason in enumerate(found.dictionary.to_pylist()):
            rows = np.flatnonzero(numbers == number)
            most = self.count if reason else self.of_kept
            rows = rows[np.argsort(order[rows], kind="stable")[:most]]
            self.keep(table.take(pa.array(rows)), order[rows], most)

    def keep(self, table: pa.Table, order: np.ndarray, most: int) -> None:
        """Hold the least of some rows of one reason and those held."""
        at = table.schema.get_field_index("text")
        text = pc.utf8_slice_codeunits(table["text"], 0, EXCERPT)
        for key, row in zip(order.tolist(), table.set_column(at, "text", text).to_pylist(),
                            strict=True):
            name = ((row["step"] or "") if row["dropped"] else "", row["dropped"] or "")
            own = self.held.setdefault(name, [])
            own.append((key, row["id"], row))
            own[:] = heapq.nsmallest(most, own, key=lambda item: item[:2])

    def of(self, step: str, reason: str) -> list[Row]:
        """Return the rows held of a reason."""
        return [row for _, _, row in self.held.get((step, reason), [])]


def keys(ids: pa.ChunkedArray, salt: np.uint64) -> np.ndarray:
    """Return a hash of each id of 16 hexadecimal digits, uint64 [rows]."""
    digits: Sequence[str] = ids.to_pylist()
    values = np.frombuffer(bytes.fromhex("".join(digits)), ">u8").astype(np.uint64)
    return mix(values ^ salt)
