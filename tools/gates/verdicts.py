"""What a gate asks of a method's rows, and the table that says whether it was given.

A bar is met when the mean less two standard errors is at or above it. With several seeds the
standard error is that of their mean; with one it is that of the test images alone, and the row says
"one seed".
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Row = Mapping[str, Any]
CPU_MINUTES = 8.0              # of training, all starts of a run together


class Gate(NamedTuple):
    """A method's family, which names its bars, and the seeds it is measured with."""

    family: str
    seeds: tuple[int, ...]


class Bar(NamedTuple):
    """name (+ of `over`) must be at least `least` above `over`, or at least `least` alone."""

    name: str
    over: str
    least: float

    def __str__(self) -> str:
        """Say it in words."""
        return (f"{self.name} >= {self.over} + {self.least:g}" if self.over
                else f"{self.name} >= {self.least:g}")


JOINT = (Bar("linear", "linear_raw_pixels", .04), Bar("linear", "linear_random_init", .10),
         Bar("knn", "knn_random_init", .06))
UNTRAINED = (Bar("linear", "linear_random_init", .05),)
BARS = {
    "joint": JOINT,
    # The reconstruction's errors are negated by `value_of`: higher is better everywhere.
    "masked": (Bar("-masked_error", "-masked_error_neighbours", 0.0), *UNTRAINED),
    "predictive": UNTRAINED,
    "rotation": (Bar("held_out_accuracy", "", .55), Bar("linear", "linear_raw_pixels", .04)),
    # No bar of the field: the least that learning must give.
    "other": (Bar("linear", "linear_random_init", 0.0),),
    "captioned": (Bar("linear", "linear_random_init", 0.0),),
}
REMARKS = {"captioned": "**sees labels**: its captions name the class"}


def value_of(row: Row, name: str) -> float:
    """Return a judgement of a row; a minus in front negates it, nan where there is none."""
    found = row["judgements"].get(name.removeprefix("-"), {}).get("value")
    if found is None:
        return math.nan
    return -found if name.startswith("-") else found


def error_of(row: Row, name: str) -> float:
    """Return the standard error over test images of a judgement: a quarter of its interval."""
    found = row["judgements"].get(name.removeprefix("-"), {})
    low, high = found.get("low"), found.get("high")
    return (high - low) / 3.92 if None not in (low, high) else 0.0


def margin(rows: list[Row], bar: Bar) -> tuple[float, float]:
    """Return by how much the rows' mean is above a bar, and its standard error."""
    gains = [value_of(row, bar.name) - (value_of(row, bar.over) if bar.over else 0) - bar.least
             for row in rows]
    if len(gains) > 1:
        return statistics.mean(gains), statistics.stdev(gains) / math.sqrt(len(gains))
    return gains[0], error_of(rows[0], bar.name)


def verdict(gate: Gate, rows: list[Row]) -> str:
    """Return "met", or what was missed and by how much, or what is still missing."""
    if not rows:
        return "not run yet"
    missed = []
    for bar in BARS[gate.family]:
        mean, error = margin(rows, bar)
        if math.isnan(mean):
            missed.append(f"{bar}: not judged")
        elif mean - 2 * error < 0:
            missed.append(f"**missed** {bar}: {100 * mean:+.1f} ± {200 * error:.1f} points")
    longest = max(row["cpu_minutes"] for row in rows)
    if longest > CPU_MINUTES:
        missed.append(f"**over** {CPU_MINUTES:g} CPU-minutes: {longest:.1f}")
    left = len(gate.seeds) - len(rows)
    waiting = f" ({left} seeds to come)" if left > 0 else ""
    remarks = [REMARKS[gate.family]] if gate.family in REMARKS else []
    if any(row.get("old") for row in rows):
        remarks.append("**old recipe**: not the one that the repository has now")
    return "; ".join([*(missed or ["met"]), *remarks, *behind(rows)]) + waiting


def behind(rows: list[Row]) -> list[str]:
    """Say what no learning does better, whatever a family's bars ask for."""
    said = []
    for words, name, over in (("below raw pixels", "linear", "linear_raw_pixels"),
                              ("k-NN below untrained", "knn", "knn_random_init")):
        points = 100 * statistics.mean(value_of(row, name) - value_of(row, over) for row in rows)
        said += [f"**{words}**: {points:+.1f} points"] if points < 0 else []
    return said


def spread(rows: list[Row], name: str) -> str:
    """Return "mean ± standard deviation over seeds" in per cent, or the one value there is."""
    values = [100 * value_of(row, name) for row in rows]
    values = [v for v in values if not math.isnan(v)]
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def line(name: str, gate: Gate, rows: list[Row]) -> str:
    """Return a method's line of the table."""
    seeds = "one seed" if len(rows) == 1 else f"{len(rows)} seeds" if rows else ""
    minutes = f"{max(row['cpu_minutes'] for row in rows):.1f}" if rows else ""
    columns = [name, seeds, minutes]
    columns += [spread(rows, judged) for judged in (
        "linear", "linear_raw_pixels", "linear_random_init",
        "knn", "knn_raw_pixels", "knn_random_init")]
    return f"| {' | '.join([*columns, verdict(gate, rows)])} |"


def table(gates: Mapping[str, Gate], rows: Iterable[Row]) -> str:
    """Return the Markdown table of all gates."""
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(row)
    head = ("| method | runs | CPU-minutes | linear | raw pixels | untrained | k-NN | raw pixels | "
            "untrained | bars |\n|---|---|---|---|---|---|---|---|---|---|")
    return "\n".join([head, *(line(name, gate, by_method.get(name, []))
                              for name, gate in gates.items())])
