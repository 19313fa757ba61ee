"""Which source the next row comes from: staged weights, exact counts, integers only.

Row r of a run belongs to one part and is that part's row number q; both follow from r alone. Rows
are dealt in blocks of K: before block b of a stage, part s has had floor(E[s+1] K b / D) -
floor(E[s] K b / D) rows, with E the cumulative weights in units of 1/D, so that counts stay within
two rows of the weights for ever and every q is used once and in order. Inside a block the parts are
spread evenly. Counts frozen per block (largest remainder) drifted by 391 rows in a million.
"""

import bisect
import dataclasses
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np

from ssljax.core.errors import ConfigError

UNITS = 1_000_000_000            # D: weights are kept to a billionth
BLOCK = 16_384                   # K: rows of a block


@lru_cache(maxsize=32)
def pattern(counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return (part, rank among the part's own) of each row of a block with these counts.

    Item k of a part with n items is due at (k + 1/2) / n of the block. Both int64 [sum(counts)].
    """
    part = np.repeat(np.arange(len(counts)), counts)
    rank = np.concatenate([np.arange(n) for n in counts])
    # Integers at a common scale: floats would order ties by rounding.
    due = (2 * rank + 1) * (2**40 // np.repeat(np.maximum(counts, 1), counts))
    order = np.argsort(due, kind="stable")
    return part[order], rank[order]


@dataclasses.dataclass(frozen=True)
class Stage:
    """Rows from `first` on with cumulative weights `edges`, in units of 1/UNITS."""

    first: int
    edges: tuple[int, ...]

    def before(self, block: int) -> list[int]:
        """Return how many rows each part has had in this stage before a block."""
        dealt = [edge * BLOCK * block // UNITS for edge in self.edges]
        return [high - low for low, high in zip(dealt, dealt[1:])]

    def counts(self, block: int) -> tuple[int, ...]:
        """Return how many rows of a block each part has."""
        pairs = zip(self.before(block), self.before(block + 1), strict=True)
        return tuple(after - before for before, after in pairs)

    def dealt(self, rows: int) -> list[int]:
        """Return how many of the stage's first `rows` rows each part has."""
        block, inside = divmod(rows, BLOCK)
        part, _ = pattern(self.counts(block))
        extra = np.bincount(part[:inside], minlength=len(self.edges) - 1)
        return [before + int(n) for before, n in zip(self.before(block), extra, strict=True)]


def make_stage(first: int, weights: Sequence[float]) -> Stage:
    """Return the stage of rows from `first` on.

    Raises:
        ConfigError: a weight is so small that a block could owe it less than nothing.
    """
    total = sum(weights)
    edges = [round(UNITS * sum(weights[:i]) / total) for i in range(len(weights) + 1)]
    for weight, low, high in zip(weights, edges, edges[1:], strict=False):
        if weight and (high - low) * BLOCK < 2 * UNITS:
            raise ConfigError(f"A mixture's weight of {weight / total:.3g} of all rows is too "
                              f"small; use 0, or at least {2 / BLOCK:.3g}.")
    return Stage(first, tuple(edges))


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The stages of a run, the first from row 0; stages may begin inside a block of another."""

    stages: tuple[Stage, ...]

    @cached_property
    def starts(self) -> list[list[int]]:
        """Return how many rows each part has had when each stage begins."""
        starts = [[0] * (len(self.stages[0].edges) - 1)]
        for stage, following in zip(self.stages, self.stages[1:]):
            dealt = stage.dealt(following.first - stage.first)
            starts.append([a + b for a, b in zip(starts[-1], dealt, strict=True)])
        return starts

    def dealt(self, rows: int) -> list[int]:
        """Return how many of the first `rows` rows each part has."""
        at = bisect.bisect_right([s.first for s in self.stages], rows) - 1
        dealt = self.stages[at].dealt(rows - self.stages[at].first)
        return [a + b for a, b in zip(self.starts[at], dealt, strict=True)]

    def rows(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (part, the part's row number) of rows first..last, int64 [last - first] each."""
        found = [self._piece(low, high) for low, high in self._pieces(first, last)]
        return np.concatenate([p for p, _ in found]), np.concatenate([q for _, q in found])

    def _pieces(self, first: int, last: int) -> list[tuple[int, int]]:
        """Cut rows at the edges of stages and blocks."""
        cuts = {first, last, *(s.first for s in self.stages if first < s.first < last)}
        for at, stage in enumerate(self.stages):
            end = self.stages[at + 1].first if at + 1 < len(self.stages) else last
            low, high = max(first, stage.first), min(last, end)
            block = stage.first + (low - stage.first) // BLOCK * BLOCK
            cuts.update(range(block + BLOCK, high, BLOCK))
        edges = sorted(cuts)
        return list(zip(edges, edges[1:]))

    def _piece(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        at = bisect.bisect_right([s.first for s in self.stages], first) - 1
        stage = self.stages[at]
        block, low = divmod(first - stage.first, BLOCK)
        part, rank = (x[low:low + last - first] for x in pattern(stage.counts(block)))
        base = np.add(self.starts[at], stage.before(block))
        return part, base[part] + rank


def make_schedule(stages: Sequence[tuple[int, Sequence[float]]]) -> Schedule:
    """Return the schedule of (first row, weight of each part) stages.

    Raises:
        ConfigError: a weight is too small.
    """
    return Schedule(tuple(make_stage(first, weights) for first, weights in stages))
