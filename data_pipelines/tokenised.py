"""The task that makes tokens of one partition of documents, and what it needs of a tokenizer.

Reads documents in the order of data_pipelines/ordered.py; writes tokens, lengths and places, which
data_pipelines/write_shards.py cuts into shards.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from data_pipelines.engine.blocks import text_bytes
from data_pipelines.ordered import ordered, write_places
from ssljax.core.tokenizer import Tokenizer
from ssljax.sources.token_shards import tokens_dtype
from ssljax.tokenizers import bpe, byte

BATCH_BYTES = 1 << 21          # text tokenised at a time; the library's threads share it


class Definition(NamedTuple):
    """A tokenizer as it travels to workers: the file of its definition, "" for bytes."""

    path: str

    def make(self) -> Tokenizer:
        """Return the tokenizer."""
        return bpe.make(path=self.path) if self.path else byte.make()


def batches(table: pa.Table) -> Iterator[list[str]]:
    """Yield texts in their order, about BATCH_BYTES at a time."""
    piece = np.cumsum(text_bytes(table)) // BATCH_BYTES
    ends = [*(np.flatnonzero(np.diff(piece)) + 1).tolist(), table.num_rows]
    start = 0
    for stop in ends:
        if stop > start:
            yield table["text"].slice(start, stop - start).to_pylist()
        start = stop


def tokenise(folder: Path, *, paths: Sequence[str], partition: int, tokenizer: Definition,
             starts: Sequence[int]) -> dict[str, Any]:
    """Write one partition's tokens, each document's length, and each row's place by block."""
    made = tokenizer.make()
    table, lengths = ordered(paths, partition), []
    with open(folder / "tokens", "wb") as file:
        for some in batches(table):
            encoded = made.encode_batch(some)
            lengths += map(len, encoded)
            file.writelines(np.array(ids, tokens_dtype(made.vocab_size)) for ids in encoded)
    np.save(folder / "lengths.npy", np.array(lengths, np.int64))
    write_places(folder / "places.arrow", table["row"].to_numpy(), np.array(lengths, np.int64),
                 starts)
    return {"documents": table.num_rows, "tokens": int(sum(lengths)),
            "text_bytes": int(text_bytes(table).sum())}


def training_texts(paths: Sequence[str], partitions: int, limit: int) -> Iterator[str]:
    """Yield texts of a split in their order, up to the one that reaches `limit` bytes."""
    taken = 0
    for partition in range(partitions):
        for text in ordered(paths, partition)["text"]:
            yield text.as_py()
            taken += len(text.as_buffer())
            if taken >= limit:
                return
