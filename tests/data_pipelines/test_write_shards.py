"""Shards: the bytes of the text come back, shuffled, each shard of the size asked for."""

import gzip
import json

import numpy as np
import pytest

from data_pipelines import write_shards
from data_pipelines.progress import silent
from data_pipelines.table import drop, replace
from ssljax.tokenizers import byte


@pytest.fixture
def split_table(table, prose):
    made = drop(table([prose(i, 10 + i) for i in range(40)]), {3: ("too_short", "1 < 2")})
    return replace(made, "split", [None if i == 3 else "validation" if i % 8 == 0 else "train"
                                   for i in range(40)])


def write(folder, table, split, shard_tokens=500):
    return write_shards.write_split(folder, table, split, byte.make(), shard_tokens, silent)


def read(folder, shard):
    flat = np.fromfile(folder / shard.path, "<u2")
    offsets = np.fromfile((folder / shard.path).with_suffix(".offsets"), "<i8")
    return [flat[a:b].tolist() for a, b in zip(offsets, offsets[1:], strict=False)]


def test_the_documents_of_a_split_are_written_once_and_whole(tmp_path, split_table):
    written = write(tmp_path, split_table, "train")
    documents = [bytes(d) for s in written.shards for d in read(tmp_path, s)]
    texts = split_table["text"].to_pylist()
    assert documents == [texts[r].encode() for r in written.rows]
    assert sorted(written.rows) == [i for i in range(40) if i != 3 and i % 8]
    assert written.summary() == {"documents": 34, "tokens": sum(map(len, documents)),
                                 "text_bytes": sum(map(len, documents))}
    assert written.tokens.tolist() == list(map(len, documents))


def test_shards_end_with_the_document_that_fills_them(tmp_path, split_table):
    written = write(tmp_path, split_table, "train", shard_tokens=1000)
    sizes = [s.tokens for s in written.shards]
    ends = np.cumsum(sizes)
    assert len(sizes) > 3 and sum(s.records for s in written.shards) == 34
    longest = written.tokens.max()
    assert all(1000 * (i + 1) <= end <= 1000 * (i + 1) + longest for i, end in enumerate(ends[:-1]))


def test_the_order_is_shuffled_by_id_and_not_by_row(split_table):
    rows = write_shards.shuffled(split_table, "train")
    turned = split_table.take(np.arange(39, -1, -1))
    assert (write_shards.shuffled(turned, "train") == 39 - rows).all()
    assert abs(np.corrcoef(rows, np.arange(len(rows)))[0, 1]) < 0.5


def test_batches_bound_the_text_in_flight_and_lose_nothing(split_table, monkeypatch):
    monkeypatch.setattr(write_shards, "BATCH_BYTES", 300)
    rows = write_shards.shuffled(split_table, "train")
    made = list(write_shards.batches(split_table, rows))
    assert [t for b in made for t in b] == split_table["text"].take(rows).to_pylist()
    assert len(made) > 5
    assert all(sum(map(len, b[1:])) <= 300 for b in made)


def test_every_document_read_has_a_line(tmp_path, split_table):
    splits = [write(tmp_path, split_table, s) for s in write_shards.SPLITS]
    file = write_shards.write_documents(tmp_path, split_table, splits)
    content = gzip.decompress((tmp_path / file.path).read_bytes())
    lines = [json.loads(line) for line in content.splitlines()]
    assert len(lines) == 40
    assert lines[3] | {"id": 0, "cluster": 0} == {
        "id": 0, "source": "3.txt", "row": 0, "licence": "unknown", "verdict": "dropped",
        "reason": "too_short", "detail": "1 < 2", "step": None, "cluster": 0, "split": None, "record": None,
        "tokens": None}
    by_split = dict(zip(write_shards.SPLITS, splits, strict=True))
    for number, line in enumerate(lines):
        if line["verdict"] == "kept":
            written = by_split[line["split"]]
            assert written.rows[line["record"]] == number
            assert written.tokens[line["record"]] == line["tokens"]


def test_equal_tables_give_equal_files(tmp_path, split_table):
    for name in "ab":
        (tmp_path / name).mkdir()
    a, b = ([*(w := write(tmp_path / n, split_table, "train")).shards, *w.files,
             write_shards.write_documents(tmp_path / n, split_table, [w])] for n in "ab")
    assert a == b
