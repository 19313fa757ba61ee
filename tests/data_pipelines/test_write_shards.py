"""Shards: the bytes of the text come back, shuffled, each shard of the size asked for."""

import gzip
import json

import numpy as np
import pytest

from data_pipelines import run, tokenised, write_shards
from data_pipelines.engine.engine import Engine, Once
from data_pipelines.ordered import SPLITS
from data_pipelines.table import drop, replace
from data_pipelines.targets import tokens


@pytest.fixture
def split_table(table, prose):
    made = drop(table([prose(i, 10 + i) for i in range(40)]), {3: ("too_short", "1 < 2")})
    return replace(made, "split", [None if i == 3 else "validation" if i % 8 == 0 else "train"
                                   for i in range(40)])


@pytest.fixture
def write(tmp_path, split_table):
    def make(name="out", shard_tokens=500, partition_bytes=1 << 20, table=split_table):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.work").mkdir()
        engine = Engine(tmp_path / f"{name}.work", executor=Once(),
                        partition_bytes=partition_bytes)
        blocks = engine.hold(table)
        target = tokens.make(tokenizer="byte", shard_tokens=shard_tokens)
        given, counts = run.order(blocks, target.columns, tmp_path / name, engine)
        made = target.write(given)
        splits = made.splits
        accounts = run.account(blocks, made, engine)
        file = write_shards.write_documents(tmp_path / name, accounts)
        told = gzip.decompress((tmp_path / name / file.path).read_bytes()).splitlines()
        return splits, [json.loads(line) for line in told], counts

    return make


def read(folder, shards):
    for shard in shards:
        flat = np.fromfile(folder / shard.path, "<u2")
        offsets = np.fromfile((folder / shard.path).with_suffix(".offsets"), "<i8")
        assert len(offsets) == shard.records + 1 and len(flat) == shard.tokens == offsets[-1]
        yield from (bytes(flat[a:b].tolist()) for a, b in zip(offsets, offsets[1:], strict=False))


def test_the_documents_of_a_split_are_written_once_whole_and_where_their_line_says(
        tmp_path, write, split_table):
    splits, lines, counts = write()
    texts = split_table["text"].to_pylist()
    assert len(lines) == 40 and counts["kept"] == 39 and counts["dropped"] == {"too_short": 1}
    assert lines[3] | {"id": 0, "cluster": 0} == {
        "id": 0, "source": "3.txt", "row": 0, "offset": None, "url": None,
        "licence": "unknown", "verdict": "dropped",
        "reason": "too_short", "detail": "1 < 2", "step": None, "cluster": 0, "split": None,
        "record": None, "tokens": None}
    for split in SPLITS:
        documents = list(read(tmp_path / "out", splits[split].shards))
        own = [(n, line) for n, line in enumerate(lines) if line["split"] == split]
        assert len(own) == len(documents) == splits[split].summary["documents"]
        for number, line in own:
            assert documents[line["record"]] == texts[number].encode()
            assert line["tokens"] == len(texts[number].encode())


def test_shards_end_with_the_document_that_fills_them(write):
    splits, lines, _ = write(shard_tokens=1000)
    sizes = [s.tokens for s in splits["train"].shards]
    longest = max(line["tokens"] or 0 for line in lines)
    assert len(sizes) > 3
    assert all(1000 * (i + 1) <= end <= 1000 * (i + 1) + longest
               for i, end in enumerate(np.cumsum(sizes)[:-1]))


def test_the_order_is_shuffled_by_id_and_depends_on_neither_rows_nor_partitions(
        tmp_path, write, split_table):
    splits, lines, _ = write()
    records = [line["record"] for line in lines if line["split"] == "train"]
    assert abs(np.corrcoef(records, np.arange(len(records)))[0, 1]) < 0.5
    turned = split_table.take(np.arange(39, -1, -1))
    assert write("turned", table=turned)[0] == splits
    parted, told, _ = write("parted", partition_bytes=700)
    assert len(list((tmp_path / "parted.work").glob("*/*/tokens"))) > 10
    assert parted == splits and told == lines


def test_batches_bound_the_text_in_flight_and_lose_nothing(split_table, monkeypatch):
    monkeypatch.setattr(tokenised, "BATCH_BYTES", 300)
    made = list(tokenised.batches(split_table))
    assert [t for b in made for t in b] == split_table["text"].to_pylist()
    assert len(made) > 5
    assert all(sum(map(len, b[1:])) <= 300 for b in made)
