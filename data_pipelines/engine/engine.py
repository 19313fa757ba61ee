"""The driver: stages of tasks over blocks and partitions, each done once, however often it runs.

Holds paths and totals of blocks, nothing of their rows. Reads a plan's steps (plan.py); returns
`Blocks`. What it writes lies in one work folder that a later run of the same recipe continues.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from data_pipelines.engine import commit, tasks
from data_pipelines.engine.blocks import (
    BLOCK_BYTES,
    Block,
    Blocks,
    Verdicts,
    judged,
    write_block,
)
from data_pipelines.engine.plan import VERDICTS, Call, Executor, Loop, Step
from data_pipelines.progress import Report, Size, silent, work_of
from data_pipelines.table import documents
from ssljax.core.errors import DataError

PARTITION_BYTES = 64 << 20     # of text whose records share a partition
WHOLE_BYTES = 256 << 20        # of text that a step which takes the whole table is handed at most
LOOPS = 64                     # turns; components of n nodes settle in about log2(n)

Told = Mapping[str, Any]
Channels = dict[str, list[str]]


class Given(NamedTuple):
    """A step handed over as it is, for tasks in this process."""

    step: Step
    name: str = "step"

    def resolve(self) -> Step:
        """Return it."""
        return self.step


class Here:
    """Runs tasks in this process, one after the other."""

    def run(self, calls: Sequence[Call]) -> Iterator[int]:
        """Run calls and yield the number of each as it is done."""
        for number, call in enumerate(calls):
            commit.run(call)
            yield number

    def close(self) -> None:
        """Nothing to release."""


class Once:
    """Runs tasks in this process for a folder that goes when they are done: nothing to commit."""

    def run(self, calls: Sequence[Call]) -> Iterator[int]:
        """Run calls and yield the number of each as it is done."""
        for number, call in enumerate(calls):
            folder = Path(call.folder)
            folder.mkdir()
            commit.say(folder, call.function(folder, **call.arguments))
            yield number

    def close(self) -> None:
        """Nothing to release."""


class Engine:
    """Runs stages in a work folder; close the executor when done."""

    def __init__(self, folder: Path, *, executor: Executor | None = None,
                 block_bytes: int = BLOCK_BYTES, partition_bytes: int = PARTITION_BYTES,
                 partitions: int = 0, report: Report = silent):
        """Work in `folder`; `partitions` of grouped steps is fixed where it is not 0."""
        self.folder = folder
        self.executor = executor or Here()
        self.block_bytes = block_bytes
        self.partition_bytes = partition_bytes
        self.partitions = partitions
        self.report = report

    def stage(self, key: str, label: str,
              calls: Sequence[tuple[Callable[..., Told], Mapping[str, Any]]],
              note: Callable[[Sequence[Told]], str] | None = None,
              sizes: Sequence[Size] = ()) -> list[tuple[str, Told]]:
        """Run the tasks of a stage that are not done; return (folder, what it said) of all.

        Args:
            key: of all that the output depends on.
            label: the stage's name; "" reports nothing.
            calls: a function and its arguments for each task.
            note: what to say of the whole.
            sizes: documents (0: its output's) and bytes that each task is given.
        """
        stage = self.folder / key
        stage.mkdir(parents=True, exist_ok=True)
        commit.prune(stage)
        made = [Call(function, arguments, str(stage / f"{n:06d}"))
                for n, (function, arguments) in enumerate(calls)]
        finished = {n: commit.told(c.folder) for n, c in enumerate(made)
                    if Path(c.folder).exists()}
        missing = [n for n in range(len(made)) if n not in finished]
        work = work_of(finished, sizes)
        if label:
            self.report(label, len(finished), max(1, len(made)), "", work)
        for n in self.executor.run([made[n] for n in missing]):
            number = missing[n]
            finished[number] = commit.told(made[number].folder)
            work = work_of({number: finished[number]}, sizes, work)
            if label and len(finished) < len(made):
                self.report(label, len(finished), len(made), "", work)
        found = [(c.folder, finished[n]) for n, c in enumerate(made)]
        if label:
            self.report(label, max(1, len(made)), max(1, len(made)),
                        note([t for _, t in found]) if note else "", work)
        return found

    def hold(self, table: pa.Table) -> Blocks:
        """Return a table in memory as a corpus of one block."""
        block = write_block(self.folder / "held.arrow", table)
        return Blocks("held", (block._replace(path=str(self.folder / block.path)),))

    def tables(self, blocks: Blocks) -> Iterator[pa.Table]:
        """Yield the documents of each block, judged."""
        for number, (block, first) in enumerate(zip(blocks.blocks, blocks.starts(), strict=True)):
            yield judged(block.path, number, first, blocks.pending)

    def read(self, step: Any, groups: Sequence[pa.Table], key: str) -> Blocks:
        """Read groups of listed files, a task each."""
        key = commit.stage_key("read", key, self.block_bytes, [g.to_pydict() for g in groups])
        calls = [(tasks.read, {"step": step, "files": g, "block_bytes": self.block_bytes})
                 for g in groups]
        sizes = [(0, sum(max(0, n) for n in g["size"].to_pylist())) for g in groups]
        found = gather(key, self.stage(key, step.name, calls, left, sizes))
        return found if found.blocks else self.hold(documents([]))

    def rowwise(self, blocks: Blocks, steps: Sequence[Any], key: str) -> Blocks:
        """Pass every block through row-wise steps."""
        key = commit.stage_key("rowwise", blocks.key, key)
        calls = [(tasks.rowwise, {"steps": steps, **place}) for place in self.places(blocks)]
        label = ", ".join(s.name for s in steps)
        made = gather(key, self.stage(key, label, calls, left, blocks.sizes))
        return check(blocks, made, steps[-1].name)

    def whole(self, blocks: Blocks, step: Any, key: str) -> Blocks:
        """Pass the corpus through a step that takes all of it at once: a plug-in's, none of ours.

        Raises:
            DataError: the corpus is larger than WHOLE_BYTES.
        """
        if blocks.bytes > WHOLE_BYTES:
            raise DataError(f"Step {step.name} takes the whole table, of {blocks.bytes:,} bytes of "
                            f"text; at most {WHOLE_BYTES:,} fit. Mark its module ROWWISE = True if "
                            "it judges each row alone, or have it return a Grouped "
                            "(data_pipelines/engine/plan.py).")
        key = commit.stage_key("whole", blocks.key, key, self.block_bytes)
        listed = [(p["path"], p["number"], p["first"]) for p in self.places(blocks)]
        calls = [(tasks.whole, {"step": step, "blocks": listed, "pending": blocks.pending})]
        return check(blocks, gather(key, self.stage(key, step.name, calls, left)), step.name)

    def places(self, blocks: Blocks) -> list[dict[str, Any]]:
        """Return the arguments by which tasks find their block."""
        return [{"path": b.path, "number": n, "first": first, "pending": blocks.pending}
                for n, (b, first) in enumerate(zip(blocks.blocks, blocks.starts(), strict=True))]

    def grouped(self, blocks: Blocks, step: Any, key: str) -> Blocks:
        """Judge the corpus by a grouped step; its verdicts are applied as blocks are read."""
        parts = self.partitions or max(1, math.ceil(blocks.bytes / self.partition_bytes))
        key = commit.stage_key("grouped", blocks.key, key, parts)
        calls = [(tasks.emit, {"step": step, "partitions": parts, **place})
                 for place in self.places(blocks)]
        emitted = self.stage(f"{key}-emit", step.name, calls, sizes=blocks.sizes)
        channels = files_of(emitted)
        shared = {"step": step, "partitions": parts, "starts": blocks.starts(),
                  "total": blocks.kept, "rows": [folder for folder, _ in emitted]}
        verdicts: list[str] = []
        dropped = 0
        for at, found in enumerate(step.resolve().rounds):
            turns = (self.loop(key, at, found, channels, shared) if isinstance(found, Loop)
                     else self.round(f"{key}-{found.name}", found, [at], channels, shared))
            verdicts += files_of(turns).get(VERDICTS, [])
            dropped += total(turns, VERDICTS, "dropped")
        made = Blocks(key, blocks.blocks, (*blocks.pending, Verdicts(step, tuple(verdicts))),
                      blocks.dropped + dropped)
        self.report(step.name, max(1, len(calls)), max(1, len(calls)),
                    f"{made.kept:,} of {made.rows:,} documents left")
        return made

    def round(self, key: str, found: Any, at: Sequence[int], channels: Channels,
              shared: Mapping[str, Any]) -> list[tuple[str, Told]]:
        """Judge every partition; `channels` then has what the round emitted."""
        inputs = {name: channels[name] for name in (*found.reads, *found.whole)}
        label = f"{shared['step'].name}: {found.name}"
        turns = self.stage(key, label, [(tasks.judge, {"at": at, "inputs": inputs, "partition": p,
                                                       **shared})
                                        for p in range(shared["partitions"])])
        channels.update(files_of(turns))
        return turns

    def loop(self, key: str, at: int, found: Loop, channels: Channels,
             shared: Mapping[str, Any]) -> list[tuple[str, Told]]:
        """Repeat rounds until a channel settles.

        Raises:
            DataError: it does not.
        """
        before = None
        for turn in range(LOOPS):
            turns: list[tuple[str, Told]] = []
            for inner, each in enumerate(found.rounds):
                turns = self.round(f"{key}-{found.name}-{turn}-{each.name}", each, [at, inner],
                                   channels, shared)
            now = (total(turns, found.settles, "checksum") % 2**64,
                   total(turns, found.settles, "rows"))
            if now == before:
                return turns
            before = now
        raise DataError(f"{found.name} did not settle in {LOOPS} turns; please report this corpus.")


def files_of(turns: Sequence[tuple[str, Told]]) -> Channels:
    """Return the files of each channel of a stage, in order of its tasks."""
    found: Channels = {}
    for folder, told in turns:
        for name in told["channels"]:
            found.setdefault(name, []).append(f"{folder}/{name}.arrow")
    return found


def total(turns: Sequence[tuple[str, Told]], channel: str, field: str) -> int:
    """Return the sum of a figure of a channel over a stage's tasks."""
    return sum(told["channels"].get(channel, {}).get(field, 0) for _, told in turns)


def gather(key: str, turns: Sequence[tuple[str, Told]]) -> Blocks:
    """Return the blocks of a stage, in order of its tasks."""
    return Blocks(key, tuple(Block(f"{folder}/{path}", *rest) for folder, told in turns
                             for path, *rest in told["blocks"]))


def left(said: Sequence[Told]) -> str:
    """Say how many documents a stage left."""
    found = gather("", [("", told) for told in said])
    return f"{found.kept:,} of {found.rows:,} documents left"


def check(before: Blocks, after: Blocks, name: str) -> Blocks:
    """Return `after`.

    Raises:
        DataError: the step lost rows or made some up.
    """
    if before.rows != after.rows:
        raise DataError(f"Step {name} returned {after.rows} rows for {before.rows}; a step keeps "
                        "every row and writes into `dropped`.")
    return after
