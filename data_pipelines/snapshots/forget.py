"""Take rows out of a table, and find everything that was made of them.

Rows go by their id or by source file; the newest version is then without them, and older ones are
kept until their owner expires them. What saw the rows cannot be unlearnt here: the shard sets whose
version held them are named, and every run and artefact below a folder that names such a set. The
raw input is not touched: without the source removed from it, curating again brings the rows back.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from data_pipelines.snapshots.changes import add_name, change
from data_pipelines.snapshots.versions import (
    COUNTS,
    VERSION,
    Version,
    find_version,
    scan,
    set_current,
    versions,
)
from ssljax.core.errors import DataError
from ssljax.sources.manifest import NAME, read_manifest

if TYPE_CHECKING:
    from pyiceberg.table import Table, Transaction


class Forgotten(NamedTuple):
    """What was taken out: rows of the newest version, its new name, and the versions with them."""

    rows: int
    version: str
    seen_by: tuple[str, ...]


def forget(table: "Table", *, sources: Sequence[str] = (), rows: Sequence[str] = ()) -> Forgotten:
    """Make a version without some rows.

    Args:
        table: the document table.
        sources: files of the input, as rows name them.
        rows: ids of rows.

    Raises:
        DataError: no version has such a row.
    """
    from pyiceberg.expressions import In, Or
    condition = Or(In("source", set(sources) or {""}), In("id", set(rows) or {""}))
    seen = [v for v in versions(table) if scan(table, v, ["id"], condition).num_rows]
    if not seen:
        raise DataError(f"No version of the table has a row of {[*sources, *rows]}; nothing was "
                        "changed. `ssljax data show` names rows and sources.")

    def commit(transaction: "Transaction") -> tuple[int, str]:
        current = find_version(table)
        ids = sorted(scan(table, current, ["id"], condition)["id"].to_pylist())
        if not ids:
            return 0, current.name
        name = hashlib.sha256(json.dumps([current.name, ids]).encode()).hexdigest()[:16]
        if known := [v for v in versions(table) if v.name == name]:
            set_current(transaction, known[0].snapshot)
            return len(ids), name
        counts = json.loads(current.properties.get(COUNTS, "{}"))
        counts["forgotten"] = counts.get("forgotten", 0) + len(ids)
        transaction.delete(condition, snapshot_properties={
            **ours(current), VERSION: name, COUNTS: json.dumps(counts)})
        add_name(transaction, f"v{name}",
                 transaction.table_metadata.current_snapshot().snapshot_id)
        return len(ids), name

    return Forgotten(*change(table, commit), tuple(v.name for v in seen))


def ours(version: Version) -> dict[str, str]:
    """Return a version's properties that are not Iceberg's own."""
    return {k: v for k, v in version.properties.items() if k.startswith("ssljax.")}


def shard_sets(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the datasets below a folder that were made of some versions."""
    found = []
    for path in sorted(folder.rglob(NAME)):
        try:
            parents = read_manifest(path.parent).parents
        except DataError:
            continue               # another kind's manifest, such as an artefact's
        if any(p.get("version") in names for p in parents):
            found.append(path.parent)
    return found


def users(folder: Path, datasets: Sequence[Path]) -> Iterator[Path]:
    """Yield the runs and artefacts below a folder whose JSON names one of some datasets."""
    needles = [read_manifest(d).version for d in datasets]
    needles += [str(d) for d in datasets] + [str(d.absolute()) for d in datasets]
    seen = {d.absolute() for d in datasets}
    for path in sorted(folder.rglob("*.json")):
        home = path.parent
        if home.absolute() in seen or "catalog" in path.parts:
            continue
        text = path.read_text(errors="replace")
        if any(f'"{n}"' in text for n in needles):
            seen.add(home.absolute())
            yield home
