"""From a training token, or a row, back to the byte in the crawl.

Reads a dataset's shards, its documents.jsonl.gz and the version of its table that the manifest
names; returns the row with its lineage. Nothing of the raw input is needed but for the offset of a
line in a reader's file that recorded none.
"""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_pipelines.snapshots.versions import STEPS, columns_of, find_version, scan
from ssljax.core.errors import DataError
from ssljax.sources.manifest import Manifest, read_manifest
from ssljax.sources.token_shards import OFFSETS_DTYPE

if TYPE_CHECKING:
    from pyiceberg.table import Table


def record_of_token(folder: Path, manifest: Manifest, split: str, token: int) -> tuple[int, int]:
    """Return the record that a token of a split belongs to, and its place in the record's tokens.

    Raises:
        DataError: the split has no such token.
    """
    record = before = 0
    for shard in (s for s in manifest.shards if s.split == split):
        if token < before + shard.tokens:
            path = (folder / shard.path).with_suffix(".offsets")
            offsets = np.fromfile(path, OFFSETS_DTYPE)
            at = int(np.searchsorted(offsets, token - before, "right")) - 1
            return record + at, token - before - int(offsets[at])
        before, record = before + shard.tokens, record + shard.records
    raise DataError(f"Split {split} of {folder} has {before:,} tokens; {token:,} is not one.")


def lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what documents.jsonl.gz says of every row."""
    with gzip.open(folder / "documents.jsonl.gz") as file:
        yield from map(json.loads, file)


def trace_token(folder: Path, split: str, token: int) -> dict[str, Any]:
    """Return the row of a token, as its dataset tells it, with "token_in_record".

    Raises:
        DataError: no such token.
    """
    record, within = record_of_token(folder, read_manifest(folder), split, token)
    for row in lines(folder):
        if row["split"] == split and row["record"] == record:
            return row | {"token_in_record": within}
    raise DataError(f"{folder}/documents.jsonl.gz has no record {record} of {split}; it is of "
                    "another dataset.")


def trace_row(table: "Table", version: str, row_id: str) -> dict[str, Any]:
    """Return a row of a version with every column, and the steps that judged it.

    Raises:
        DataError: no such row.
    """
    from pyiceberg.expressions import EqualTo
    found = find_version(table, version)
    columns = columns_of(table, found)
    rows = scan(table, found, list(columns), EqualTo("id", row_id)).to_pylist()
    if not rows:
        raise DataError(f"Version {found.name} has no row {row_id}; `ssljax data show` samples it.")
    known = json.loads(found.properties.get(STEPS, "[]"))
    return {**rows[0], "version": found.name, "steps": judged_by(known, rows[0], columns)}


def judged_by(steps: Sequence[Mapping[str, Any]], row: Mapping[str, Any],
              columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the steps that judged a row, up to the one that dropped it, with their "scores".

    Args:
        steps: of the version.
        row: its columns.
        columns: name -> the step that wrote it, "" for those of every table.
    """
    made = []
    for step in steps:
        scores = {n: row[n] for n, by in columns.items() if by == step["name"]
                  and row[n] is not None}
        made.append({**step, "scores": scores})
        if step["name"] == row["step"]:
            break
    return made


def byte_offset(folder: Path, row: Mapping[str, Any]) -> int:
    """Return where a row begins in its (uncompressed) source file, in bytes.

    Raises:
        DataError: the file is not there.
    """
    if row.get("offset") is not None:
        return row["offset"]
    path = folder / row["source"]
    if ".jsonl" not in path.suffixes:
        return 0
    try:
        opened = gzip.open(path) if path.suffix == ".gz" else open(path, "rb")  # noqa: SIM115
        with opened as file:
            return sum(len(line) for _, line in zip(range(row["row"]), file, strict=False))
    except OSError as err:
        raise DataError(f"{path} cannot be read ({err.strerror}); pass the folder of the raw input "
                        "with --input.") from err
