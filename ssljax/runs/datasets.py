"""Data sets to look at in the comparison page: a curated one with all that was dropped, or images.

A curated data set (`ssljax curate`) is shown from the table of its version, where dropped rows are
too, with step and reason; without that table, from its token shards. A folder, archive or table of
images is shown as it is. Returns serve's `Dataset`, whose functions are called from threads.
"""

import contextlib
import functools
import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssljax.core import cache
from ssljax.core.config import resolve
from ssljax.core.errors import DataError, UnreadableRecordError
from ssljax.serve.arena.viewer import Dataset, Example, Query, Rows
from ssljax.sources import images, token_shards
from ssljax.sources.manifest import NAME, Manifest, read_manifest

LONGEST_TEXT = 20_000            # characters of a row that are sent
SEARCH_SECONDS = 3.0             # then the page may ask for more
WINDOW = 256                     # rows read at once where access is random
# Columns of the table that are shown by themselves, or say nothing to a reader.
APART = frozenset(("number", "text", "dropped", "detail", "step", "cluster", "record",
                   "offset"))


def open_dataset(path: Path) -> Dataset:
    """Return the data set in a folder or archive.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    if not (path / NAME).is_file():
        return image_files(path)
    manifest = read_manifest(path)
    parent = manifest.parents[0] if manifest.parents else {}
    catalog = path.absolute().parent / "catalog"
    if "table" in parent and catalog.is_dir():
        return document_table(path, manifest, catalog)
    if any(shard.path.endswith(".tokens") for shard in manifest.shards):
        return documents(path, manifest)
    raise DataError(f"{path} holds no tokens, and the table of its version is not in {catalog}; "
                    "there is nothing to show.")


def about(path: Path, manifest: Manifest) -> dict[str, Any]:
    """Return what a manifest tells the page."""
    return {"version": manifest.version, "read": manifest.read, "kept": manifest.kept,
            "dropped": dict(manifest.dropped), "path": str(path),
            "splits": {name: dict(counts) for name, counts in manifest.splits.items()}}


def document_table(path: Path, manifest: Manifest, catalog: Path) -> Dataset:
    """Return a curated data set with every row that was read, kept or dropped."""
    parent, alone = manifest.parents[0], threading.Lock()

    @functools.cache
    def opened() -> tuple[Any, Any, tuple[str, ...]]:
        from data_pipelines.snapshots.catalog import load_table, open_catalog
        from data_pipelines.snapshots.versions import columns_of, find_version
        with alone, contextlib.closing(open_catalog(catalog)) as found:
            table = load_table(found, parent["table"])
        version = find_version(table, parent["version"])
        return table, version, tuple(columns_of(table, version))

    def scan(condition: Any) -> Iterator[dict[str, Any]]:
        from data_pipelines.snapshots.versions import batches
        table, version, columns = opened()
        for batch in batches(table, version, columns, condition):
            yield from batch.sort_by("number").to_pylist()

    def find(query: Query) -> Rows:
        return gather((table_row(row) for row in scan(condition_of(query))), query)

    @functools.cache
    def shards(split: str) -> Any:
        return images.make(path=str(path / split), cache=str(cache.users_folder()))

    def picture(row: Mapping[str, Any]) -> bytes | None:
        """Return the image of a row: the table has none, the shards those of kept rows."""
        if row.get("dropped") is not None or row.get("record") is None:
            return None
        try:
            return shards(row["split"]).read(np.array([row["record"]]))[0]["image"]
        except UnreadableRecordError:
            return None

    @functools.lru_cache(maxsize=256)
    def image(number: int) -> bytes | None:
        from pyiceberg.expressions import EqualTo
        return next((picture(row) for row in scan(EqualTo("number", number))), None)

    def pictures(count: int) -> list[Example]:
        rows = itertools.islice(scan(condition_of(Query(reason="kept"))), count)
        found = [(row, picture(row)) for row in rows]
        return [Example(row["number"], data, str(row.get("label") or ""))
                for row, data in found if data is not None]

    has_images = any(step.get("name") == "read_images" for step in steps_of(manifest))
    if not has_images:
        return Dataset(path.name, about(path, manifest), find, no_image, no_pictures)
    return Dataset(path.name, about(path, manifest), find, image, pictures, manifest.kept)


def steps_of(manifest: Manifest) -> list[Mapping[str, Any]]:
    """Return the steps of a recipe."""
    return [step for step in manifest.recipe.get("steps", ()) if isinstance(step, Mapping)]


def condition_of(query: Query) -> Any:
    """Return what pyiceberg can look for; text is looked for in what it returns."""
    from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, IsNull
    found = GreaterThanOrEqual("number", query.start)
    if query.reason:
        found = And(found, IsNull("dropped") if query.reason == "kept"
                    else EqualTo("dropped", query.reason))
    return And(found, EqualTo("split", query.split)) if query.split else found


def table_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the table as the page takes it."""
    facts = {name: fact(value) for name, value in row.items()
             if name not in APART and value is not None}
    return {"number": row["number"], "text": row.get("text") or "", "facts": facts,
            "image": row.get("dropped") is None and row.get("record") is not None,
            **{name: row.get(name) for name in ("dropped", "detail", "step")}}


def fact(value: Any) -> str:
    """Return a value in few characters."""
    return (f"{value:.4g}" if isinstance(value, float) else str(value))[:200]


def gather(rows: Iterator[dict[str, Any]], query: Query) -> Rows:
    """Return the rows that contain the text, until there are enough or it took too long."""
    wanted, found, seen = query.text.lower(), [], 0
    until, number = float("inf"), query.start - 1
    for row in rows:
        until = min(until, time.monotonic() + SEARCH_SECONDS)     # opening it is not searching
        if len(found) == query.count or (seen % WINDOW == 0 and time.monotonic() > until):
            return Rows(found, number + 1, seen)
        seen, number = seen + 1, row["number"]
        if wanted in row["text"].lower() or any(wanted in v.lower() for v in row["facts"].values()):
            found.append({**row, "text": row["text"][:LONGEST_TEXT]})
    return Rows(found, None, seen)


def documents(path: Path, manifest: Manifest) -> Dataset:
    """Return a curated data set from its token shards: what was kept, and nothing else."""
    tokenizer = resolve("tokenizers", {"name": "bpe", "path": str(path / "tokenizer.json")})
    splits = {name: token_shards.make(path=str(path), split=name, verify="size")
              for name in manifest.splits}

    def rows(query: Query) -> Iterator[dict[str, Any]]:
        before = 0
        for name, source in splits.items():
            first = max(0, query.start - before)
            if query.split in ("", name) and query.reason in ("", "kept"):
                for at in range(first, len(source), WINDOW):
                    records = source.read(np.arange(at, min(at + WINDOW, len(source))))
                    for i, record in enumerate(records):
                        ids = record["tokens"].tolist()
                        text = tokenizer.decode_bytes(ids).decode("utf-8", "replace")
                        yield {"number": before + at + i, "text": text,
                               "facts": {"split": name, "tokens": str(len(ids))}}
            before += len(source)

    return Dataset(path.name, about(path, manifest) | {
        "note": "The table of its version is not beside it: dropped rows are not shown."},
        lambda query: gather(rows(query), query), no_image, no_pictures)


def image_files(path: Path) -> Dataset:
    """Return the images of a folder, archive or table."""
    source = images.make(path=str(path), cache=str(cache.users_folder()))
    names = tuple(getattr(source, "classes", ()))

    def record(at: int) -> Mapping[str, Any]:
        try:
            return source.read(np.array([at]))[0]
        except UnreadableRecordError as err:
            return {"dropped": err.reason}

    def rows(query: Query) -> Iterator[dict[str, Any]]:
        for at in range(query.start, len(source)):
            one = record(at)
            label = {"label": named(one, names)} if "label" in one else {}
            yield {"number": at, "text": one.get("text", ""), "facts": label, "image": True,
                   "dropped": one.get("dropped")}

    def pictures(count: int) -> list[Example]:
        found = ((at, record(at)) for at in range(min(count, len(source))))
        return [Example(at, one["image"], named(one, names)) for at, one in found if "image" in one]

    facts = {"version": source.fingerprint()["images"][:16], "read": len(source),
             "kept": len(source), "dropped": {}, "splits": {}, "path": str(path)}
    return Dataset(path.name, facts, lambda query: gather(rows(query), query),
                   lambda at: record(at).get("image") if at < len(source) else None, pictures,
                   len(source))


def named(record: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """Return the name of a record's class, "" where it has none."""
    label = record.get("label", -1)
    return names[label] if 0 <= label < len(names) else str(label) if label >= 0 else ""


def no_image(number: int) -> None:
    """Return that a row of text has no image."""


def no_pictures(count: int) -> list[Example]:
    """Return that there are none."""
    return []
