"""Everything the page of a version says, and whether its accounts add up.

Reads a version of a document table, a data file at a time; returns `Figures`.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from data_pipelines.report.duplicates import Cluster, Copies, fetch_clusters
from data_pipelines.report.samples import Samples
from data_pipelines.report.statistics import Statistics, measure
from data_pipelines.snapshots.versions import (
    CODE,
    COUNTS,
    PARENTS,
    RECIPE,
    STEPS,
    Version,
    batches,
    reports_of,
    schema_of,
    versions,
)
from ssljax.core.errors import DataError

if TYPE_CHECKING:
    from pyiceberg.table import Table

FAILED = "step_failed"         # a step broke on the row: an error, not a judgement


class Account(NamedTuple):
    """read = kept + dropped + errors + forgotten, in rows."""

    read: int
    kept: int
    dropped: int
    errors: int
    forgotten: int


class Figures(NamedTuple):
    """What the page shows.

    name, version: of the table, and the version of it
    account:       every row that was read
    statistics:    counts and histograms
    samples:       rows of each reason
    clusters:      duplicates; `copies` counts them by reason
    steps:         of the recipe, with versions and parameters
    recipe:        its other fields
    parents, code: what it was made from and with
    reports:       what steps measured of themselves
    columns:       column -> the step that wrote it
    known:         all versions of the table, newest first
    seed:          of samples
    """

    name: str
    version: Version
    account: Account
    statistics: Statistics
    samples: Samples
    clusters: Sequence[Cluster]
    copies: Mapping[str, int]
    steps: Sequence[Mapping[str, Any]]
    recipe: Mapping[str, Any]
    parents: Sequence[Mapping[str, Any]]
    code: str
    reports: Sequence[Mapping[str, Any]]
    columns: Mapping[str, str]
    known: Sequence[Version]
    seed: int


def collect(table: "Table", name: str, version: Version, *, samples: int = 3, clusters: int = 5,
            seed: int = 0) -> Figures:
    """Return the figures of a version.

    Args:
        table: the document table.
        name: the recipe's.
        version: of the table.
        samples: rows of each reason.
        clusters: the largest clusters of duplicates, and as many others.
        seed: of samples.

    Raises:
        DataError: the accounts do not add up.
    """
    read = functools.partial(batches, table, version)
    schema = schema_of(table, version)
    seen, copies = Samples(samples, seed, of_kept=16 * samples), Copies(seed)
    found = measure(read, schema, (seen.offer, copies.offer))
    steps = json.loads(version.properties.get(STEPS, "[]"))
    recipe = json.loads(version.properties.get(RECIPE, "{}"))
    return Figures(
        name, version, check(found, json.loads(version.properties.get(COUNTS, "{}")), steps),
        found, seen, fetch_clusters(read, copies.chosen(clusters)), dict(copies.reasons), steps,
        {k: v for k, v in recipe.items() if k not in ("steps", "options")},
        json.loads(version.properties.get(PARENTS, "[]")), version.properties.get(CODE, ""),
        reports_of(version), {f.name: (f.metadata or {}).get(b"doc", b"").decode() for f in schema},
        versions(table)[::-1], seed)


def check(found: Statistics, counts: Mapping[str, Any],
          steps: Sequence[Mapping[str, Any]]) -> Account:
    """Return the account of a version's rows beside what its run counted.

    Errors are rows that the first step could not read and those that a step broke on.

    Raises:
        DataError: a row is missing, there twice, or judged otherwise than the run counted.
    """
    source = steps[0]["name"] if steps else ""
    kept = found.funnel.get(("", ""), (0,))[0]
    errors = sum(amount.rows for (step, reason), amount in found.funnel.items()
                 if reason and (step == source or reason == FAILED))
    dropped = sum(amount.rows for amount in found.funnel.values()) - kept - errors
    forgotten, read = counts.get("forgotten", 0), counts.get("read", found.rows)
    made = Account(read, kept, dropped, errors, forgotten)
    if read != kept + dropped + errors + forgotten or found.rows != kept + dropped + errors:
        raise DataError(f"The accounts do not add up: {read:,} rows were read, but {kept:,} kept + "
                        f"{dropped:,} dropped + {errors:,} errors + {forgotten:,} forgotten are "
                        f"{sum(made[1:]):,}. Rows of this version are missing or there twice; "
                        "`ssljax data rollback` to one that is whole, and curate again.")
    whole = (found.first, found.last, found.total) == (0, read - 1, read * (read - 1) // 2)
    if not forgotten and read and not whole:
        raise DataError(f"The accounts do not add up: rows should be numbered 0 to {read - 1:,}, "
                        f"but go from {found.first:,} to {found.last:,} or repeat; roll back to a "
                        "version that is whole, and curate again.")
    by_reason: dict[str, int] = {}
    for (_, reason), amount in found.funnel.items():
        by_reason[reason] = by_reason.get(reason, 0) + amount.rows
    by_reason.pop("", None)
    if not forgotten and counts and by_reason != counts["dropped"]:
        odd = sorted(r for r in by_reason.keys() | counts["dropped"].keys()
                     if by_reason.get(r) != counts["dropped"].get(r))
        raise DataError(f"The accounts do not add up: the run counted other numbers of "
                        f"{', '.join(odd)} than this version has; curate again.")
    return made
