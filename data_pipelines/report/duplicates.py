"""Duplicates to look at: a survivor beside its copies, and where they differ.

Steps that drop copies write "<survivor's id> <similarity>" into `detail`. The first pass counts
the copies of each survivor; the second fetches the texts of the largest clusters and of some at
random. Memory is bounded as that of tallies is.
"""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.report.samples import EXCERPT, keys
from data_pipelines.report.statistics import LIMIT
from ssljax.core.rng import hash64

NAMED = r"^(?P<survivor>[0-9a-f]{16})(?: -?[0-9.]+)?$"
SHOWN = ("id", "source", "row", "offset", "url", "text", "dropped", "detail")
COPIES = 2                     # shown of a cluster
WORDS = re.compile(r"\s+|\w+|[^\w\s]")
TOKENS = 500                   # compared of a text: the comparison is quadratic
BEFORE = 12                    # of equal text shown before the first difference

Piece = tuple[str, str]        # ("same" or "differs", text)


class Cluster(NamedTuple):
    """A survivor and some of the copies dropped for one reason, as rows; `size` counts all."""

    reason: str
    size: int
    survivor: dict[str, Any]
    copies: list[dict[str, Any]]


class Copies:
    """Counts the copies of each survivor, by reason."""

    def __init__(self, seed: int):
        """Start empty; the seed is of survivors at random."""
        self.salt = np.uint64(hash64("copies", seed))
        self.sizes: dict[str, Counter[str]] = {}
        self.reasons: Counter[str] = Counter()

    def offer(self, table: pa.Table) -> None:
        """Take note of some rows."""
        named = survivors_of(table)
        rows = pc.is_valid(named)
        reasons = table["dropped"].filter(rows).to_pylist()
        self.reasons.update(reasons)
        for reason, survivor in zip(reasons, named.filter(rows).to_pylist(), strict=True):
            self.sizes.setdefault(reason, Counter())[survivor] += 1
        for reason, sizes in self.sizes.items():
            if len(sizes) > LIMIT:
                self.sizes[reason] = Counter(dict(sizes.most_common(LIMIT // 2)))

    def chosen(self, count: int) -> list[tuple[str, str, int]]:
        """Return (reason, survivor's id, copies): the largest clusters, then some at random."""
        found = []
        for reason, _ in self.reasons.most_common():
            sizes = self.sizes[reason]
            largest = sorted(sizes, key=lambda i: (-sizes[i], i))[:count]
            others = sorted(set(sizes) - set(largest))
            order = np.argsort(keys(pa.chunked_array([others], pa.string()), self.salt))[:count]
            found += [(reason, i, sizes[i]) for i in (*largest, *(others[j] for j in order))]
        return found


def survivors_of(table: pa.Table) -> pa.ChunkedArray:
    """Return the survivor's id of each row that is a copy, null for others."""
    copies = pc.fill_null(pc.match_substring(table["dropped"], "duplicate"), False)
    detail = pc.if_else(copies, table["detail"], pa.scalar(None, table["detail"].type))
    return pc.struct_field(pc.extract_regex(detail, NAMED), "survivor")


def fetch_clusters(read: Callable[[Sequence[str]], Iterator[pa.Table]],
                   chosen: Sequence[tuple[str, str, int]]) -> list[Cluster]:
    """Return clusters with the texts of survivor and copies, in the order chosen.

    Args:
        read: columns -> all rows, some at a time.
        chosen: (reason, survivor's id, number of its copies).
    """
    ids = {i for _, i, _ in chosen}
    wanted = pa.array(sorted(ids), pa.string())
    survivors: dict[str, Any] = {}
    copies: dict[tuple[str, str], list[Any]] = {}
    for table in read(SHOWN) if chosen else ():
        named = survivors_of(table)
        mine = pc.or_(pc.is_in(table["id"].cast(pa.string()), wanted),
                      pc.is_in(named.cast(pa.string()), wanted))
        for row, survivor in zip(table.filter(mine).to_pylist(), named.filter(mine).to_pylist(),
                                 strict=True):
            if survivor in ids:
                own = copies.setdefault((row["dropped"], survivor), [])
                own.append(row)
                own.sort(key=lambda r: r["id"])
                del own[COPIES:]
            if row["id"] in ids:
                survivors[row["id"]] = row
    return [Cluster(reason, size, survivors[i], copies.get((reason, i), []))
            for reason, i, size in chosen if i in survivors]


def differences(a: str, b: str) -> tuple[list[Piece], list[Piece]]:
    """Return two texts in pieces, from shortly before their first difference; equal ones whole."""
    if a.strip() == b.strip():
        return ([("same", a[:EXCERPT])], [("same", b[:EXCERPT])])
    first, second = (WORDS.findall(t[:20 * EXCERPT]) for t in (a, b))
    equal = next((i for i, (x, y) in enumerate(zip(first, second, strict=False)) if x != y),
                 min(len(first), len(second)))
    start = max(0, equal - BEFORE) if equal > 2 * BEFORE else 0
    left, right = first[start:start + TOKENS], second[start:start + TOKENS]
    sides: tuple[list[Piece], list[Piece]] = ([], [])
    for side in sides if start else ():
        side.append(("same", "… "))
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        name = "same" if kind == "equal" else "differs"
        for side, words in ((sides[0], left[i:j]), (sides[1], right[k:m])):
            if words:
                side.append((name, "".join(words)))
    for side, all_words in zip(sides, (first, second), strict=True):
        if len(all_words) > start + TOKENS:
            side.append(("same", " …"))
    return sides
