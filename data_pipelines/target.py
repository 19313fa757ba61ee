"""What a recipe writes: a target is handed the documents kept, in order, and returns its files.

The plug-ins are files of data_pipelines/targets with make(*, ...) -> Target. Whatever the target,
documents lie in the order of a hash within each split, the manifest lists every file with its
checksum, and documents.jsonl.gz leads from a record back to its source.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data_pipelines.engine.blocks import Blocks
from data_pipelines.engine.engine import Engine
from data_pipelines.write_shards import Written
from ssljax.sources.manifest import File


class Ordered(NamedTuple):
    """The documents that a target writes.

    blocks:     all documents, judged
    files:      split -> files with its documents by partition (data_pipelines/ordered.py)
    partitions: how many there are
    engine:     runs the target's stages
    folder:     of the dataset, empty but for what the target writes
    """

    blocks: Blocks
    files: Mapping[str, Sequence[str]]
    partitions: int
    engine: Engine
    folder: Path


class Made(NamedTuple):
    """What a target wrote.

    splits:         split -> shards, files and totals
    files:          those of no split
    places:         (file of places, number of its first record) of each partition of every split
    key:            of what `places` depend on
    tokenizer_hash: "" where there are no tokens
    vocab_size:     0 where there are no tokens
    """

    splits: Mapping[str, Written]
    files: Sequence[File]
    places: Sequence[tuple[str, int]]
    key: str
    tokenizer_hash: str = ""
    vocab_size: int = 0


class Target(NamedTuple):
    """One way to write documents.

    columns: of the table that it writes, beside "id"
    write:   writes them all
    stages:  names under which it reports, in order
    """

    columns: tuple[str, ...]
    write: Callable[[Ordered], Made]
    stages: tuple[str, ...]
