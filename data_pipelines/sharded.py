"""Documents as files of records, each shard written by a task of its own, the same for any number.

measure  a partition -> the size of each record, and where each row's record went
pack     a shard     -> one file in the target's format

A shard ends with the record that brings it to its size, counted over the whole split, so that
shards depend neither on partitions nor on workers. Reads what data_pipelines/ordered.py wrote.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.engine.blocks import text_bytes
from data_pipelines.engine.commit import stage_key
from data_pipelines.ordered import SPLITS, ordered, write_places
from data_pipelines.target import Made, Ordered
from data_pipelines.write_shards import Written
from ssljax.core.errors import ConfigError
from ssljax.core.files import sha256
from ssljax.sources.manifest import Shard

KEPT_BACK = ("key", "row", "id")        # of the order; the id is the column "document" of records
SHARD_BYTES = 64 << 20

Write = Callable[[Path, pa.Table], None]
Piece = tuple[int, int, int]            # partition, first record of it, the one after the last


class Format(NamedTuple):
    """How records are written.

    suffix: of the files
    write:  (path, table with "document" and the target's columns) -> None; importable by name
    """

    suffix: str
    write: Write


def check_bytes(shard_bytes: int) -> None:
    """Raise ConfigError for a size that no shard can have."""
    if shard_bytes < 1:
        raise ConfigError(f"target.shard_bytes {shard_bytes}; expected at least 1.")


def stages() -> tuple[str, ...]:
    """Return the names under which `write_sharded` reports."""
    return tuple(f"write {split}" for split in SPLITS)


def write_sharded(given: Ordered, made_by: Format, shard_bytes: int, *settings: Any) -> Made:
    """Write both splits as shards.

    Args:
        given: the documents.
        made_by: how their records are written.
        shard_bytes: of a shard's columns before compression, to within a record.
        *settings: plain data that the format depends on.
    """
    key = stage_key("sharded", given.blocks.key, given.partitions, made_by.suffix, shard_bytes,
                    settings)
    splits, places = {}, []
    for split in SPLITS:
        measured = given.engine.stage(stage_key(key, "measure", split), "", [
            (measure, {"paths": given.files[split], "partition": p,
                       "starts": given.blocks.starts()}) for p in range(given.partitions)])
        before = np.cumsum([0, *(told["documents"] for _, told in measured)]).tolist()
        places += [(f"{part}/places.arrow", base) for (part, _), base in zip(measured, before)]
        plan = cut_shards([np.load(f"{part}/sizes.npy") for part, _ in measured], shard_bytes)
        packed = given.engine.stage(stage_key(key, "pack", split), f"write {split}", [
            (pack, {"paths": given.files[split], "pieces": pieces, "write": made_by.write})
            for pieces in plan], lambda said: f"{sum(t['records'] for t in said):,} records")
        total = {n: sum(told[n] for _, told in measured) for n in ("documents", "text_bytes")}
        splits[split] = Written(
            tuple(place(given.folder, split, n, made_by.suffix, done)
                  for n, done in enumerate(packed)), (), {**total, "tokens": 0})
    return Made(splits, (), places, key)


def measure(folder: Path, *, paths: Sequence[str], partition: int,
            starts: Sequence[int]) -> dict[str, Any]:
    """Write the sizes of one partition's records in order, and each row's place by block."""
    table = ordered(paths, partition)
    np.save(folder / "sizes.npy", record_bytes(table.drop_columns([*KEPT_BACK])))
    rows = table["row"].to_numpy()
    write_places(folder / "places.arrow", rows, np.zeros(len(rows), np.int64), starts)
    text = int(text_bytes(table).sum()) if "text" in table.schema.names else 0
    return {"documents": table.num_rows, "text_bytes": text}


def record_bytes(table: pa.Table) -> np.ndarray:
    """Return the bytes of each row: of strings and bytes their length, 8 of anything else."""
    total = np.zeros(table.num_rows, np.int64)
    for name in table.schema.names:
        kind = table.schema.field(name).type
        if any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string,
                                       pa.types.is_binary, pa.types.is_large_binary)):
            total += pc.fill_null(pc.binary_length(table[name]), 0).to_numpy().astype(np.int64)
        else:
            total += 8
    return total


def cut_shards(sizes: Sequence[np.ndarray], shard_bytes: int) -> list[list[Piece]]:
    """Return the pieces of partitions that make each shard.

    Args:
        sizes: int64 [records] of each partition, bytes.
        shard_bytes: a shard holds the records that begin within its stretch of so many bytes.
    """
    shards: dict[int, list[Piece]] = {}
    before = 0
    for partition, own in enumerate(sizes):
        begins = before + np.cumsum(own) - own
        number = begins // shard_bytes
        edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(own)]
        for start, stop in zip(edges, edges[1:]):
            if stop > start:
                shards.setdefault(int(number[start]), []).append((partition, start, stop))
        before += int(own.sum())
    return [shards[n] for n in sorted(shards)]


def pack(folder: Path, *, paths: Sequence[str], pieces: Sequence[Piece],
         write: Write) -> dict[str, Any]:
    """Write one shard."""
    table = pa.concat_tables([ordered(paths, p).slice(start, stop - start)
                              for p, start, stop in pieces])
    document = table["id"]
    table = table.drop_columns([*KEPT_BACK]).append_column("document", document)
    path = folder / "shard"
    write(path, table.combine_chunks())
    return {"records": table.num_rows, "bytes": path.stat().st_size, "sha256": sha256(path)}


def place(folder: Path, split: str, number: int, suffix: str,
          packed: tuple[str, Mapping[str, Any]]) -> Shard:
    """Give a packed shard its name in the dataset; return its entry in the manifest."""
    made, told = packed
    name = f"{split}/{number:05d}{suffix}"
    (folder / split).mkdir(exist_ok=True)
    try:
        os.link(Path(made) / "shard", folder / name)
    except OSError:
        shutil.copyfile(Path(made) / "shard", folder / name)
    return Shard(name, told["bytes"], told["sha256"], split, told["records"], 0)
