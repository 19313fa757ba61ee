"""Tokenised documents as token shards, and a line about every document that was read.

    <dataset>/<split>/00000.tokens, .offsets    as ssljax.sources.token_shards reads them
    <dataset>/documents.jsonl.gz    {"id", "source", "row", "licence", "verdict", "reason",
                                    "detail", "step", "cluster", "split", "record", "tokens"} each

Reads the output of data_pipelines/tokenised.py, one piece after the other in the documents' order;
returns what the manifest says about the files. Memory is that of one document or piece.
"""

import gzip
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssljax.sources.manifest import File, Shard
from ssljax.sources.token_shards import OFFSETS_DTYPE


class Part(NamedTuple):
    """One tokenised partition: its folder, and what the task said of it."""

    folder: str
    told: Any


class Written(NamedTuple):
    """One split on disk: shards and files for the manifest, and its totals."""

    shards: tuple[Shard, ...]
    files: tuple[File, ...]
    summary: dict[str, int]


class Output:
    """A file that is hashed as it is written, and flushed to the disk when closed."""

    def __init__(self, folder: Path, name: str):
        """Create `name` in `folder`."""
        self.name, self.bytes, self.digest = name, 0, hashlib.sha256()
        self.file = open(folder / name, "wb")  # noqa: SIM115 (a resource with `close`)

    def write(self, data: bytes) -> int:
        """Append some bytes."""
        self.digest.update(data)
        self.bytes += len(data)
        return self.file.write(data)

    def flush(self) -> None:
        """Hand what is buffered to the system; gzip asks for it."""
        self.file.flush()

    def close(self) -> File:
        """Flush to the disk; return the file's entry in the manifest."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        return File(self.name, self.bytes, self.digest.hexdigest())


def write_split(folder: Path, split: str, parts: Sequence[Part], item_bytes: int,
                shard_tokens: int) -> Written:
    """Write a split's tokens as shards; each ends with the document that reaches its size.

    Args:
        folder: the dataset's folder.
        split: "train" or "validation".
        parts: its tokenised partitions in order.
        item_bytes: of one token.
        shard_tokens: tokens of a shard, to within a document.
    """
    (folder / split).mkdir()
    shards, files = [], []
    before, number, lengths, output = 0, 0, [], None
    for ids in documents(parts, item_bytes):
        if output is not None and before // shard_tokens != number:
            shards.append(close_shard(folder, split, output, lengths, files))
            output, lengths = None, []
        if output is None:
            number = before // shard_tokens
            output = Output(folder, f"{split}/{len(shards):05d}.tokens")
        output.write(ids)
        lengths.append(len(ids) // item_bytes)
        before += lengths[-1]
    if output is not None:
        shards.append(close_shard(folder, split, output, lengths, files))
    summary = {n: sum(p.told[n] for p in parts) for n in ("documents", "tokens", "text_bytes")}
    return Written(tuple(shards), tuple(files), summary)


def documents(parts: Sequence[Part], item_bytes: int) -> Iterator[bytes]:
    """Yield the tokens of each document as bytes."""
    for part in parts:
        with open(Path(part.folder) / "tokens", "rb") as file:
            for length in np.load(Path(part.folder) / "lengths.npy").tolist():
                yield file.read(length * item_bytes)


def close_shard(folder: Path, split: str, output: Output, lengths: Sequence[int],
                files: list[File]) -> Shard:
    """Finish a shard and write its offsets, which go to `files`; return its entry."""
    ids = output.close()
    offsets = np.cumsum([0, *lengths]).astype(OFFSETS_DTYPE)
    files.append(write_bytes(folder, ids.path.replace(".tokens", ".offsets"), offsets.tobytes()))
    return Shard(ids.path, ids.bytes, ids.sha256, split, len(lengths), int(sum(lengths)))


def write_documents(folder: Path, parts: Sequence[str]) -> File:
    """Write documents.jsonl.gz from the lines of every block, in order."""
    output = Output(folder, "documents.jsonl.gz")
    # Written a line at a time: what zlib makes may depend on how its input is cut.
    with gzip.GzipFile(filename="", fileobj=output, mode="wb", mtime=0) as packed:
        for part in parts:
            with open(Path(part) / "lines", "rb") as file:
                for line in file:
                    packed.write(line)
    return output.close()


def write_bytes(folder: Path, name: str, data: bytes) -> File:
    """Write one file through to the disk; return its entry in the manifest."""
    output = Output(folder, name)
    output.write(data)
    return output.close()
