"""Versions of a document table: commit one, list, tag, roll back, compare.

A version is the Iceberg snapshot that holds every row of one run of a recipe, dropped rows too, and
the properties of VERSION: what a dataset's manifest names is the hash of its content, which is the
snapshot's tag, so that equal runs name equal versions whatever ids a catalog hands out. Iceberg's
own row lineage cannot be written from Python (iceberg-python issue 1551): the columns are ours.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet

from data_pipelines.snapshots.catalog import table_name
from data_pipelines.snapshots.changes import RETRIES, add_name, change
from data_pipelines.snapshots.steps import describe_steps
from ssljax.core.errors import DataError, nearest
from ssljax.sources.manifest import Manifest

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table, Transaction

VERSION = "ssljax.version"     # of the dataset: the content's hash
RECIPE = "ssljax.recipe"       # steps with their parameters, as JSON
PARENTS = "ssljax.parents"     # what it was made from, as JSON
CODE = "ssljax.code"           # hash of the source that made it
STEPS = "ssljax.steps"         # every step's version and all its parameters, as JSON
COUNTS = "ssljax.counts"       # rows read, kept, dropped by reason and forgotten, as JSON
REPORTS = "ssljax.reports"     # what steps measured of themselves, as JSON


class Version(NamedTuple):
    """One version: its name, Iceberg snapshot, time (milliseconds since 1970) and properties."""

    name: str
    snapshot: int
    time_ms: int
    tags: tuple[str, ...]
    properties: Mapping[str, str]


def commit_version(catalog: "Catalog", name: str, files: Sequence[str],
                   properties: Mapping[str, str]) -> int:
    """Make the rows of some Parquet files the newest version, unless it is there already.

    Args:
        catalog: an open catalog.
        name: of the recipe.
        files: Parquet files in order; copied into the table's own place.
        properties: with VERSION.

    Returns:
        The Iceberg snapshot's id.

    Raises:
        DataError: other writers were first time and again.
    """
    from pyiceberg.expressions import AlwaysTrue
    version = properties[VERSION]
    schema = pa.parquet.read_schema(files[0])
    table = catalog.create_table_if_not_exists(table_name(name), schema,
                                               properties={RETRIES: "0"})

    def commit(transaction: "Transaction") -> int:
        if found := [v for v in versions(table) if v.name == version]:
            set_current(transaction, found[0].snapshot)
            return found[0].snapshot
        with transaction.update_schema() as columns:
            columns.union_by_name(schema)
        if table.current_snapshot():
            transaction.delete(AlwaysTrue())
        transaction.add_files(copy_files(table, files, version),
                              snapshot_properties=dict(properties))
        snapshot = transaction.table_metadata.current_snapshot().snapshot_id
        add_name(transaction, f"v{version}", snapshot)
        return snapshot

    return change(table, commit)


def copy_files(table: "Table", files: Sequence[str], version: str) -> list[str]:
    """Copy Parquet files into a table's place under names of this attempt; return their paths.

    Two writers of one version never write one file: the one that is late may clean up after itself.
    """
    paths, attempt = [], uuid.uuid4().hex[:8]
    for number, file in enumerate(files):
        path = f"{table.location()}/data/{version}-{attempt}-{number:06d}.parquet"
        with table.io.new_output(path).create(overwrite=True) as copy:
            copy.write(Path(file).read_bytes())
        paths.append(path)
    return paths


def versions(table: "Table") -> list[Version]:
    """Return the versions of a table, oldest first."""
    tags: dict[int, list[str]] = {}
    for name, ref in table.refs().items():
        tags.setdefault(ref.snapshot_id, []).append(name)
    made: dict[str, Version] = {}
    for snapshot in table.snapshots():
        properties = dict(snapshot.summary.additional_properties) if snapshot.summary else {}
        if VERSION in properties:
            # One deletion may be two snapshots, of whole files and of rows: the last one counts.
            name = properties[VERSION]
            made.pop(name, None)
            made[name] = Version(name, snapshot.snapshot_id, snapshot.timestamp_ms,
                                 tuple(sorted(tags.get(snapshot.snapshot_id, []))), properties)
    return list(made.values())


def find_version(table: "Table", name: str = "") -> Version:
    """Return a version by name, tag, the beginning of either, or snapshot id; "" is the current.

    Raises:
        DataError: there is none, or more than one begins so.
    """
    known = versions(table)
    if not name:
        current = table.current_snapshot()
        found = [v for v in known if current and v.snapshot == current.snapshot_id]
    else:
        found = [v for v in known if name in (v.name, str(v.snapshot), *v.tags)] or [
            v for v in known if v.name.startswith(name)]
    if len(found) != 1:
        names = [n for v in known for n in (v.name, *v.tags)]
        raise DataError(f'{len(found)} versions are called "{name}"; {nearest(name, names)}')
    return found[0]


def add_tag(table: "Table", version: str, tag: str) -> Version:
    """Give a version another name.

    Raises:
        DataError: no such version, or another one has the name.
    """
    found = find_version(table, version)

    def commit(transaction: "Transaction") -> None:
        taken = next((v for v in versions(table) if tag in (v.name, *v.tags)), found)
        if taken.name != found.name or tag == "main":
            raise DataError(f'Tag "{tag}" names version {taken.name} already; choose another name.')
        add_name(transaction, tag, found.snapshot)

    change(table, commit)
    return found


def rollback(table: "Table", version: str) -> Version:
    """Make another version the current one; all stay, by their names."""
    found = find_version(table, version)
    change(table, lambda transaction: set_current(transaction, found.snapshot))
    return found


def set_current(transaction: "Transaction", snapshot: int) -> None:
    """Make a snapshot the current one within a transaction."""
    from pyiceberg.table.update.snapshot import ManageSnapshots
    current = transaction.table_metadata.current_snapshot()
    if current is None or current.snapshot_id != snapshot:
        ManageSnapshots(transaction).set_current_snapshot(snapshot_id=snapshot).commit()


def scan(table: "Table", version: Version, columns: Sequence[str],
         row_filter: Any = None) -> pa.Table:
    """Return some columns of a version's rows, in the order of the input."""
    parts = list(batches(table, version, (*columns, "number"), row_filter))
    return pa.concat_tables(parts, promote_options="permissive").sort_by("number")


def batches(table: "Table", version: Version, columns: Sequence[str],
            row_filter: Any = None) -> Iterator[pa.Table]:
    """Yield some columns of a version's rows, one data file in memory at a time.

    pyiceberg's own readers hand all files to threads at once and keep what these return.

    Args:
        table: the document table.
        version: of it.
        columns: those that the version has not are left out.
        row_filter: an expression of pyiceberg.
    """
    from pyiceberg.expressions import AlwaysTrue
    from pyiceberg.io.pyarrow import ArrowScan
    condition = row_filter or AlwaysTrue()
    wanted = tuple(c for c in dict.fromkeys(columns) if c in columns_of(table, version))
    found = table.scan(row_filter=condition, snapshot_id=version.snapshot, selected_fields=wanted)
    reader = ArrowScan(table.metadata, table.io, found.projection(), condition)
    tasks = sorted(found.plan_files(), key=lambda task: task.file.file_path)
    for task in tasks:
        yield reader.to_table([task])
    if not tasks:
        yield reader.to_table([])


def reports_of(version: Version) -> list[dict[str, Any]]:
    """Return what the steps of a version measured of themselves, {"step", ...} of each."""
    return json.loads(version.properties.get(REPORTS, "[]"))


def schema_of(table: "Table", version: Version) -> pa.Schema:
    """Return the schema of a version's rows; "doc" in a field's metadata is the step's name."""
    snapshot = table.snapshot_by_id(version.snapshot)
    return table.schemas()[snapshot.schema_id].as_arrow()


def columns_of(table: "Table", version: Version) -> dict[str, str]:
    """Return the columns of a version's rows, and the step that wrote each where one did."""
    return {f.name: (f.metadata or {}).get(b"doc", b"").decode()
            for f in schema_of(table, version)}


def funnel(table: "Table", version: Version) -> list[tuple[str, str, int]]:
    """Return (step, reason, rows) of a version, kept rows under two empty names."""
    counted: Counter[tuple[str, str]] = Counter()
    for rows in batches(table, version, ["step", "dropped"]):
        groups = rows.group_by(["step", "dropped"]).aggregate([([], "count_all")])
        for group in groups.to_pylist():
            counted[group["step"] or "", group["dropped"] or ""] += group["count_all"]
    return sorted(((*key, n) for key, n in counted.items()), key=lambda c: (-c[2], c))


class Difference(NamedTuple):
    """How two versions differ: rows by reason, and examples of each as (id, source, row).

    added:    kept now, absent before     removed: kept before, absent now
    revived:  kept now, dropped before    dropped: kept before, dropped now
    """

    counts: Mapping[str, Mapping[str, int]]
    examples: Mapping[str, Mapping[str, list[tuple[str, str, int]]]]


def diff(table: "Table", before: Version, after: Version, examples: int = 3) -> Difference:
    """Compare two versions row by row; reasons are those of the side that drops, else "" ."""
    columns = ["id", "source", "row", "dropped"]
    old, new = (scan(table, v, columns).drop_columns(["number"]) for v in (before, after))
    old = old.rename_columns(["id", "source_old", "row_old", "dropped_old"])
    old = old.append_column("before", pa.array([True] * old.num_rows, pa.bool_()))
    new = new.append_column("after", pa.array([True] * new.num_rows, pa.bool_()))
    counts: dict[str, dict[str, int]] = {}
    shown: dict[str, dict[str, list[tuple[str, str, int]]]] = {}
    for row in new.join(old, "id", join_type="full outer").to_pylist():
        kind, reason = became(row)
        if not kind:
            continue
        counts.setdefault(kind, {}).setdefault(reason, 0)
        counts[kind][reason] += 1
        own = shown.setdefault(kind, {}).setdefault(reason, [])
        own.append((row["id"], row["source"] or row["source_old"],
                    row["row"] if row["row"] is not None else row["row_old"]))
        own.sort()
        del own[examples:]
    return Difference(counts, shown)


def became(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return what became of a row between two versions, and the reason; "" for nothing."""
    was = row["before"] and row["dropped_old"] is None
    stays = row["after"] and row["dropped"] is None
    if was and not stays:
        return ("dropped", row["dropped"]) if row["after"] else ("removed", "")
    if stays and not was:
        return ("revived", row["dropped_old"]) if row["before"] else ("added", "")
    return "", ""


def properties_of(manifest: Manifest, code: str,
                  reports: Sequence[Mapping[str, Any]] = ()) -> dict[str, str]:
    """Return the properties of a new version.

    Args:
        manifest: of the dataset that was made with it.
        code: hash of the package.
        reports: what steps measured of themselves (data_pipelines/step_reports.py).
    """
    counts = {"read": manifest.read, "kept": manifest.kept, "dropped": dict(manifest.dropped)}
    return {VERSION: manifest.version, RECIPE: json.dumps(manifest.recipe, sort_keys=True),
            PARENTS: json.dumps(manifest.parents), CODE: code, COUNTS: json.dumps(counts),
            STEPS: json.dumps(describe_steps(manifest.recipe)), REPORTS: json.dumps(list(reports))}
