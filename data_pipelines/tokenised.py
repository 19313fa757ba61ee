"""The last tasks of a recipe: documents in the order of a hash, tokens, and what became of each.

order      a block    -> its kept documents, by split and prefix of the hash of their id
tokenise   a partition -> tokens in order, and where each row's document went
account    a block    -> a line of JSON a row, and its rows as Parquet for the snapshot

The hash orders all documents of a split, so that every shard is a fair sample of it; a partition
is a range of hashes. Tasks of the engine (data_pipelines/engine/tasks.py) in all that matters.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from data_pipelines.engine.blocks import Verdicts, judged, text_bytes
from data_pipelines.engine.sort import by_prefix, read_partition, write_partitions
from data_pipelines.table import column, count_dropped, kept
from ssljax.core.rng import hash64
from ssljax.core.tokenizer import Tokenizer
from ssljax.sources.token_shards import tokens_dtype
from ssljax.tokenizers import bpe, byte

SPLITS = ("train", "validation")
BATCH_BYTES = 1 << 21          # text tokenised at a time; the library's threads share it
PLACES = pa.schema([("row", pa.int64()), ("record", pa.int64()), ("tokens", pa.int64())])


class Definition(NamedTuple):
    """A tokenizer as it travels to workers: the file of its definition, "" for bytes."""

    path: str

    def make(self) -> Tokenizer:
        """Return the tokenizer."""
        return bpe.make(path=self.path) if self.path else byte.make()


def order(folder: Path, *, path: str, number: int, first: int, pending: Sequence[Verdicts],
          partitions: int) -> dict[str, Any]:
    """Write a block's kept documents for the partitions of each split; count all of them."""
    table = judged(path, number, first, pending)
    splits = np.array(column(table, "split"), object)
    for split in SPLITS:
        rows = np.flatnonzero(splits == split)
        taken = table.select(["id", "text"]).take(pa.array(rows))
        keys = np.array([hash64("order", i) for i in column(taken, "id")], np.uint64)
        records = pa.table({"key": keys, "row": rows + first, "text": taken["text"]})
        write_partitions(folder / f"{split}.arrow", records, by_prefix(keys, partitions),
                         partitions)
    licences = Counter(table["licence"].take(pa.array(kept(table))).to_pylist())
    return {"licences": licences, "dropped": count_dropped(table), "rows": table.num_rows,
            "kept": len(kept(table)), "splits": {s: int((splits == s).sum()) for s in SPLITS}}


def ordered(paths: Sequence[str], partition: int) -> pa.Table:
    """Return the documents of one partition of a split in the order in which they are written."""
    found = read_partition(paths, partition)
    at = np.lexsort((found["row"].to_numpy(), found["key"].to_numpy()))
    return found.take(pa.array(at))


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
    rows = table["row"].to_numpy()
    places = pa.table([rows, np.arange(len(rows)), np.array(lengths, np.int64)], schema=PLACES)
    write_partitions(folder / "places.arrow", places,
                     np.searchsorted(starts, rows, "right") - 1, len(starts))
    return {"documents": len(rows), "tokens": int(sum(lengths)),
            "text_bytes": int(text_bytes(table).sum())}


def account(folder: Path, *, path: str, number: int, first: int, pending: Sequence[Verdicts],
            places: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Write what became of every row of a block.

    Args:
        folder: for "lines" and "rows.parquet".
        path: of the block.
        number: which of the corpus it is.
        first: number of its first row.
        pending: verdicts to be applied to it.
        places: (file, number of its first record) of each tokenised partition of every split.
    """
    table = judged(path, number, first, pending)
    record, tokens = (np.full(table.num_rows, -1) for _ in range(2))
    for name, base in places:
        found = read_partition([name], number)
        at = found["row"].to_numpy() - first
        record[at], tokens[at] = found["record"].to_numpy() + base, found["tokens"].to_numpy()
    for name, values in (("record", record), ("tokens", tokens)):
        table = table.append_column(name, pa.array(values, mask=values < 0))
    write_lines(folder / "lines", table)
    pa.parquet.write_table(lineage(table, first), folder / "rows.parquet", compression="zstd")
    return {"rows": table.num_rows}


def lineage(table: pa.Table, first: int) -> pa.Table:
    """Return the rows as snapshots keep them: with their place in the order of the input."""
    table = table.append_column("number", pa.array(np.arange(first, first + table.num_rows)))
    large = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
    fields = [f.with_type(large.get(f.type, f.type)) for f in table.schema]
    return table.cast(pa.schema(fields))


def write_lines(path: Path, table: pa.Table) -> None:
    """Write a JSON object a row, without its text."""
    names = [n for n in table.schema.names if n != "text"
             and not pa.types.is_nested(table.schema.field(n).type)]
    rows = table.select(names).rename_columns(
        ["reason" if n == "dropped" else n for n in names]).to_pylist()
    with open(path, "wb") as file:
        for row in rows:
            row["verdict"] = "dropped" if row["reason"] else "kept"
            file.write(json.dumps(row, ensure_ascii=False, default=repr).encode() + b"\n")


def training_texts(paths: Sequence[str], partitions: int, limit: int) -> Iterator[str]:
    """Yield texts of a split in their order, up to the one that reaches `limit` bytes."""
    taken = 0
    for partition in range(partitions):
        for text in ordered(paths, partition)["text"]:
            yield text.as_py()
            taken += len(text.as_buffer())
            if taken >= limit:
                return


def total_of(said: Sequence[dict[str, Any]], name: str) -> dict[str, int]:
    """Return the sum of counters, the largest first."""
    total: Counter[str] = Counter()
    for each in said:
        total.update(each[name])
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
