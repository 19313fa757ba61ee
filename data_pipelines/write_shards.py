"""Documents of a finished table as token shards, and a line about every document that was read.

    <dataset>/<split>/00000.tokens, .offsets    as ssljax.sources.token_shards reads them
    <dataset>/documents.jsonl.gz    {"id", "source", "row", "licence", "verdict", "reason",
                                    "detail", "cluster", "split", "record", "tokens"} each

Documents are in the order of a hash of their id, so that every shard is a fair sample of its split.
Returns what the manifest says about the files.
"""

import gzip
import hashlib
import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from data_pipelines.progress import Report
from data_pipelines.table import column, texts
from ssljax.core.rng import hash64
from ssljax.core.tokenizer import Tokenizer
from ssljax.sources.manifest import File, Shard
from ssljax.sources.token_shards import OFFSETS_DTYPE, tokens_dtype

SPLITS = ("train", "validation")
BATCH_BYTES = 1 << 21          # text tokenised at a time; the library's threads share it


class Written(NamedTuple):
    """One split on disk.

    shards, files: for the manifest
    rows:          the table's rows in the order of records, int64
    tokens:        of each record, int64
    text_bytes:    UTF-8 bytes of all texts
    """

    shards: tuple[Shard, ...]
    files: tuple[File, ...]
    rows: np.ndarray
    tokens: np.ndarray
    text_bytes: int

    def summary(self) -> dict[str, int]:
        """Return the split's totals."""
        return {"documents": len(self.rows), "tokens": int(self.tokens.sum()),
                "text_bytes": self.text_bytes}


def shuffled(table: pa.Table, split: str) -> np.ndarray:
    """Return the rows of a split in the order they are written, int64."""
    splits, ids = column(table, "split"), column(table, "id")
    rows = [r for r, s in enumerate(splits) if s == split]
    return np.array(sorted(rows, key=lambda r: hash64("order", ids[r])), np.int64)


def batches(table: pa.Table, rows: np.ndarray) -> Iterator[list[str]]:
    """Yield the texts of some rows, about BATCH_BYTES at a time."""
    piece = np.cumsum(text_sizes(table)[rows]) // BATCH_BYTES
    for some in np.split(rows, np.flatnonzero(np.diff(piece)) + 1):
        yield texts(table, some)


def text_sizes(table: pa.Table) -> np.ndarray:
    """Return the UTF-8 bytes of every text, int64 [rows]."""
    return pa.compute.binary_length(table["text"]).to_numpy()


def encode(table: pa.Table, rows: np.ndarray, tokenizer: Tokenizer,
           report: Report) -> Iterator[np.ndarray]:
    """Yield the ids of each document, in the type they are stored in."""
    dtype, done, tokens = tokens_dtype(tokenizer.vocab_size), 0, 0
    for some in batches(table, rows):
        for ids in tokenizer.encode_batch(some):
            done, tokens = done + 1, tokens + len(ids)
            yield np.array(ids, dtype)
        report(f"tokenise {table['split'][rows[0]]}", done, len(rows), f"{tokens:,} tokens")


def fill(documents: Iterable[np.ndarray], shard_tokens: int) -> Iterator[list[np.ndarray]]:
    """Yield the documents of each shard; it ends with the one that reaches `shard_tokens`."""
    def shard_of(ids: np.ndarray) -> int:
        nonlocal before
        before += len(ids)
        return (before - len(ids)) // shard_tokens

    before = 0
    for _, group in itertools.groupby(documents, shard_of):
        yield list(group)


def write_split(folder: Path, table: pa.Table, split: str, tokenizer: Tokenizer,
                shard_tokens: int, report: Report) -> Written:
    """Tokenise one split and write its shards.

    Args:
        folder: the dataset's folder.
        table: every document; those of the split are written.
        split: "train" or "validation".
        tokenizer: text to ids.
        shard_tokens: tokens of a shard, to within a document.
        report: told the progress.
    """
    rows = shuffled(table, split)
    (folder / split).mkdir()
    groups = fill(encode(table, rows, tokenizer, report), shard_tokens)
    written = [write_shard(folder, split, number, g) for number, g in enumerate(groups)]
    shards, offsets, lengths = zip(*written, strict=True)
    return Written(shards, offsets, rows, np.concatenate(lengths),
                   int(text_sizes(table)[rows].sum()))


def write_shard(folder: Path, split: str, number: int,
                documents: list[np.ndarray]) -> tuple[Shard, File, np.ndarray]:
    """Write one shard; return it, its offsets file and the tokens of each document, int64."""
    lengths = np.array([len(d) for d in documents], np.int64)
    name = f"{split}/{number:05d}"
    ids = write_bytes(folder, f"{name}.tokens", np.concatenate(documents).tobytes())
    offsets = np.cumsum([0, *lengths]).astype(OFFSETS_DTYPE)
    shard = Shard(ids.path, ids.bytes, ids.sha256, split, len(documents), int(lengths.sum()))
    return shard, write_bytes(folder, f"{name}.offsets", offsets.tobytes()), lengths


def write_documents(folder: Path, table: pa.Table, splits: Iterable[Written]) -> File:
    """Write documents.jsonl.gz: what became of every document that was read, one a line."""
    place = {row: {"record": record, "tokens": int(tokens)} for written in splits
             for record, (row, tokens) in enumerate(zip(written.rows.tolist(), written.tokens,
                                                        strict=True))}
    names = {"dropped": "reason"}
    rows = table.drop_columns(["text"]).rename_columns(
        [names.get(n, n) for n in table.schema.names if n != "text"]).to_pylist()
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as file:
        for number, row in enumerate(rows):
            line = row | {"verdict": "dropped" if row["reason"] else "kept"}
            line |= place.get(number, {"record": None, "tokens": None})
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    return write_bytes(folder, "documents.jsonl.gz", buffer.getvalue())


def write_bytes(folder: Path, name: str, data: bytes) -> File:
    """Write one file through to the disk; return its entry in the manifest."""
    with open(folder / name, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return File(name, len(data), hashlib.sha256(data).hexdigest())
