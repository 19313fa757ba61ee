"""Counts and histograms of a version's rows, added up one data file at a time.

Reads tables of rows as snapshots keep them; returns `Statistics`. Memory does not grow with the
rows: names are tallied up to LIMIT, of which the rarest go first, and scores fall into bins whose
edges come from a first pass over the scores alone. The order of the files does not matter, but for
names beyond LIMIT.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.table import COMMON
from ssljax.core.charts import nice_axis

LIMIT = 50_000                 # names of a tally; beyond it the rarer half goes
BINS = 40
OWN = COMMON | {"record", "tokens", "number"}
LENGTHS = ("characters", "tokens")
HOST = r"^[a-zA-Z][a-zA-Z0-9+.-]*://(?:[^/@]*@)?(?:www\.)?(?P<host>[^/:?#]+)"

Read = Callable[[Sequence[str]], Iterator[pa.Table]]


class Histogram(NamedTuple):
    """Rows by value: float64 edges [bins + 1]; kept and dropped rows, int64 [bins]."""

    edges: np.ndarray
    kept: np.ndarray
    dropped: np.ndarray
    logarithmic: bool


class Amount(NamedTuple):
    """Rows and the UTF-8 bytes of their texts."""

    rows: int = 0
    bytes: int = 0

    def plus(self, rows: int, size: int) -> "Amount":
        """Return the sum."""
        return Amount(self.rows + rows, self.bytes + size)


class Tally:
    """Rows kept and dropped, and bytes kept, by name."""

    def __init__(self) -> None:
        """Start empty; `cut` says whether names were left out."""
        self.names: dict[str, tuple[int, int, int]] = {}
        self.cut = False

    def add(self, names: pa.ChunkedArray, kept: pa.ChunkedArray, sizes: pa.ChunkedArray) -> None:
        """Count the names of some rows, nulls left out."""
        table = pa.table({"name": names, "kept": pc.cast(kept, pa.int64()),
                          "bytes": pc.if_else(kept, sizes, 0)})
        table = table.filter(pc.is_valid(table["name"]))
        groups = table.group_by("name").aggregate([("kept", "sum"), ("kept", "count"),
                                                   ("bytes", "sum")])
        for group in groups.to_pylist():
            before = self.names.get(group["name"], (0, 0, 0))
            dropped = group["kept_count"] - group["kept_sum"]
            self.names[group["name"]] = (before[0] + group["kept_sum"], before[1] + dropped,
                                         before[2] + group["bytes_sum"])
        if len(self.names) > LIMIT:
            self.names, self.cut = dict(self.top(LIMIT // 2)), True

    def top(self, count: int) -> list[tuple[str, tuple[int, int, int]]]:
        """Return the most frequent names, those of most rows kept first."""
        return sorted(self.names.items(), key=lambda i: (-i[1][0], -i[1][1], i[0]))[:count]


class Statistics(NamedTuple):
    """What is known of a version's rows.

    rows:       all of them
    first, last, total: the least and the greatest of the rows' numbers, and their sum
    funnel:     (step, reason) -> amount; kept rows under two empty names
    tallies:    column of names -> tally; "source" and "host" too
    histograms: column of numbers -> histogram; "characters" and "tokens" too
    findings:   pii_<kind> -> (rows with findings, findings)
    tokens:     of the rows that a split has
    """

    rows: int
    first: int
    last: int
    total: int
    funnel: dict[tuple[str, str], Amount]
    tallies: dict[str, Tally]
    histograms: dict[str, Histogram]
    findings: dict[str, tuple[int, int]]
    tokens: int


class Columns(NamedTuple):
    """The columns of a version that its steps added, by what is shown of them."""

    scores: tuple[str, ...]
    names: tuple[str, ...]
    findings: tuple[str, ...]


def columns_by_kind(schema: pa.Schema) -> Columns:
    """Return which columns are scores, names and counts of findings."""
    own = [f for f in schema if f.name not in OWN]
    numbers = [f.name for f in own if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)]
    names = [f.name for f in own if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)
             or pa.types.is_boolean(f.type)]
    findings = tuple(n for n in numbers if n.startswith("pii_"))
    return Columns(tuple(n for n in numbers if n not in findings), tuple(names), findings)


def measure(read: Read, schema: pa.Schema,
            also: Sequence[Callable[[pa.Table], None]] = ()) -> Statistics:
    """Return the statistics of all rows.

    Args:
        read: columns -> the rows, some at a time; called twice where there are scores.
        schema: of the rows.
        also: told each table of rows with all columns, such as samplers.
    """
    columns = columns_by_kind(schema)
    histograms = empty_histograms(read, schema, columns.scores)
    made = Statistics(0, 0, -1, 0, {}, {n: Tally() for n in ("source", "host", "licence",
                                                            *columns.names)},
                      histograms, dict.fromkeys(columns.findings, (0, 0)), 0)
    for table in read(schema.names):
        if table.num_rows:
            made = add(made, table, columns)
            for each in also:
                each(table)
    return made


def empty_histograms(read: Read, schema: pa.Schema,
                     scores: Sequence[str]) -> dict[str, Histogram]:
    """Return histograms without rows, their edges fitting the scores."""
    spans: dict[str, tuple[float, float]] = {}
    for table in read(scores) if scores else ():
        for name in scores:
            values = numbers(table, name)
            if len(values):
                low, high = spans.get(name, (np.inf, -np.inf))
                spans[name] = (min(low, values.min()), max(high, values.max()))
    found = {n: empty(np.geomspace(1, 1e9, 73), True) for n in LENGTHS}
    for name, (low, high) in spans.items():
        whole = pa.types.is_integer(schema.field(name).type)
        found[name] = empty(*edges(float(low), float(high), whole=whole))
    return found


def edges(low: float, high: float, *, whole: bool) -> tuple[np.ndarray, bool]:
    """Return the edges of bins over [low, high], and whether they are logarithmic."""
    if whole and high - low < BINS:
        return np.arange(low - 0.5, high + 1), False
    if low >= 0 and high > 100 and high > 1000 * low:
        return np.append(0, np.geomspace(max(low, 1e-3 if not whole else 1), high, BINS)), True
    axis = nice_axis(low, high)
    return np.linspace(axis.low, axis.high, BINS + 1), False


def empty(at: np.ndarray, logarithmic: bool) -> Histogram:
    """Return a histogram of no rows."""
    return Histogram(at, *(np.zeros(len(at) - 1, np.int64) for _ in range(2)), logarithmic)


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """Return the finite values of a column, float64."""
    values = table[name].drop_null().cast(pa.float64()).to_numpy()
    return values[np.isfinite(values)]


def add(before: Statistics, table: pa.Table, columns: Columns) -> Statistics:
    """Return the statistics with some more rows; tallies and histograms are added to in place."""
    kept = pc.is_null(table["dropped"])
    sizes = pc.cast(pc.fill_null(pc.binary_length(table["text"]), 0), pa.int64())
    funnel = dict(before.funnel)
    groups = table.select(["step", "dropped"]).append_column("bytes", sizes).group_by(
        ["step", "dropped"]).aggregate([("bytes", "sum"), ("bytes", "count")])
    for group in groups.to_pylist():
        key = (group["step"] or "" if group["dropped"] else "", group["dropped"] or "")
        funnel[key] = funnel.get(key, Amount()).plus(group["bytes_count"], group["bytes_sum"])
    for name, tally in before.tallies.items():
        tally.add(names(table, name), kept, sizes)
    lengths = table.append_column("characters", pc.utf8_length(table["text"]))
    for side, some in (("kept", lengths.filter(kept)), ("dropped", lengths.filter(
            pc.invert(kept)))):
        for name, histogram in before.histograms.items():
            values = numbers(some, name) if name in some.schema.names else np.empty(0)
            inside = np.clip(values, histogram.edges[0], histogram.edges[-1])
            getattr(histogram, side)[:] += np.histogram(inside, histogram.edges)[0]
    findings = {n: (with_ + int((v := numbers(table, n)).astype(bool).sum()), all_ + int(v.sum()))
                for n, (with_, all_) in before.findings.items()}
    order = table["number"].to_numpy()
    return before._replace(
        rows=before.rows + table.num_rows, funnel=funnel, findings=findings,
        first=min(before.first, int(order.min())) if before.rows else int(order.min()),
        last=max(before.last, int(order.max())), total=before.total + int(order.sum()),
        tokens=before.tokens + int(numbers(table, "tokens").sum()))


def names(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column of names; "host" is of the rows' addresses."""
    if name != "host":
        return table[name].cast(pa.string())
    if "url" not in table.schema.names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    return pc.struct_field(pc.extract_regex(table["url"].cast(pa.string()), HOST), "host")
