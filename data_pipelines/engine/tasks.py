"""The tasks of a plan: module-level functions of plain arguments that write into an empty folder.

Each returns what the driver has to know of its output, as plain data: blocks and channels. A step
travels as something with `resolve()`: a recipe and a place in it, resolved once a process.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from data_pipelines.engine.blocks import BLOCK_BYTES, Verdicts, cut, judged, write_block
from data_pipelines.engine.plan import VERDICTS, Context, Emitted, Rows, Step
from data_pipelines.engine.rows import fetch, read_bytes, write_rows
from data_pipelines.engine.sort import (
    by_prefix,
    checksum,
    read_all,
    read_partition,
    write_partitions,
)
from data_pipelines.table import documents, fail, name_step
from ssljax.core.errors import DataError, SsljaxError

PIECE = 256                    # most rows that a row-wise step is handed at a time
PIECE_BYTES = 4 << 20          # of their text


class Ref(Protocol):
    """How a step travels to a worker."""

    name: str

    def resolve(self) -> Step:
        """Return the step."""


def told(blocks: Sequence[Any] = (), channels: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a task says of its output."""
    return {"blocks": [list(b) for b in blocks], "channels": dict(channels or {})}


def read(folder: Path, *, step: Ref, files: pa.Table, block_bytes: int) -> dict[str, Any]:
    """Read some files into blocks."""
    made = step.resolve()(files)
    tables = (name_step(t, step.name) for t in ([made] if isinstance(made, pa.Table) else made))
    return told([write_block(folder / f"{n:05d}.arrow", table)
                 for n, table in enumerate(cut(tables, block_bytes))])


def rowwise(folder: Path, *, steps: Sequence[Ref], path: str, number: int, first: int,
            pending: Sequence[Verdicts]) -> dict[str, Any]:
    """Pass one block through steps that judge each row alone."""
    table = judged(path, number, first, pending)
    parts = list(cut([table], PIECE_BYTES, PIECE)) or [table]
    for step in steps:
        parts = [apply_rowwise(step, part) for part in parts]
    return told([write_block(folder / "00000.arrow", pa.concat_tables(
        parts, promote_options="default"))])


def apply_rowwise(step: Ref, table: pa.Table) -> pa.Table:
    """Return a piece after one step; a row the step fails on is dropped as "step_failed".

    Raises:
        SsljaxError: the step cannot work at all, such as an extra that is not installed.
        DataError: the step lost rows or made some up.
    """
    function = step.resolve()
    try:
        made = function(table)
    except SsljaxError:
        raise
    except Exception as err:
        if table.num_rows > 1:
            halves = (table.slice(0, table.num_rows // 2), table.slice(table.num_rows // 2))
            return pa.concat_tables([apply_rowwise(step, h) for h in halves],
                                    promote_options="default")
        made = fail(table, f"{step.name}: {type(err).__name__}: {err}")
    if made.num_rows != table.num_rows:
        raise DataError(f"Step {step.name} returned {made.num_rows} rows for {table.num_rows}; a "
                        "row-wise step keeps every row and writes into `dropped`.")
    return name_step(made, step.name)


def whole(folder: Path, *, step: Ref, blocks: Sequence[tuple[str, int, int]],
          pending: Sequence[Verdicts]) -> dict[str, Any]:
    """Pass a corpus that fits in memory through a step that sees all of it."""
    table = pa.concat_tables([judged(p, n, f, pending) for p, n, f in blocks]
                             or [documents([])])
    made = name_step(step.resolve()(table), step.name)
    return told([write_block(folder / f"{n:05d}.arrow", part)
                 for n, part in enumerate(cut([made], BLOCK_BYTES))])


def emit(folder: Path, *, step: Ref, path: str, number: int, first: int,
         pending: Sequence[Verdicts], partitions: int) -> dict[str, Any]:
    """Write the channels and rows that a grouped step makes of one block."""
    table = judged(path, number, first, pending)
    return write_emitted(folder, step.resolve().emit(table, first), partitions, [])


def judge(folder: Path, *, step: Ref, at: Sequence[int], inputs: Mapping[str, Sequence[str]],
          partition: int, partitions: int, starts: Sequence[int], total: int,
          rows: Sequence[str]) -> dict[str, Any]:
    """Judge one partition in one round.

    Args:
        folder: for the output.
        step: the grouped step.
        at: which of its rounds: an index, and within a loop a second one.
        inputs: the files of each channel that the round reads.
        partition: which, of `partitions`.
        partitions: of this step.
        starts: first row of each block.
        total: rows kept before the step.
        rows: the folders of the blocks' emitted rows.
    """
    found = step.resolve().rounds[at[0]]
    found = found.rounds[at[1]] if len(at) > 1 else found
    channels = {name: read_all(paths) if name in found.whole else read_partition(paths, partition)
                for name, paths in inputs.items()}

    context = Context(total, functools.partial(fetch, rows, starts),
                      functools.partial(read_bytes, rows, starts))
    return write_emitted(folder, found.judge(channels, context), partitions, starts)


def write_emitted(folder: Path, emitted: Emitted, partitions: int,
                  starts: Sequence[int]) -> dict[str, Any]:
    """Write channels and rows; return the totals of the channels."""
    totals = {}
    for name, records in emitted.items():
        if isinstance(records, Rows):
            write_rows(folder, name, records)
            continue
        if name == VERDICTS:
            place = np.searchsorted(starts, records["row"].to_numpy(), "right") - 1
            write_partitions(folder / f"{name}.arrow", records, place, len(starts))
            dropped = records.num_rows - records["dropped"].null_count \
                if "dropped" in records.schema.names else 0
            totals[name] = {"rows": records.num_rows, "dropped": dropped}
            continue
        place = by_prefix(records["key"].to_numpy(), partitions)
        write_partitions(folder / f"{name}.arrow", records, place, partitions)
        totals[name] = {"rows": records.num_rows,
                        "checksum": checksum(records) if integers(records) else 0}
    return told(channels=totals)


def integers(table: pa.Table) -> bool:
    """Say whether every column is of integers: such channels can settle."""
    return all(pa.types.is_integer(t) for t in table.schema.types)
