"""What recipes write: every kept document once, shuffled, the same for any cut, and readable."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines import run
from data_pipelines.engine.engine import Engine, Once
from data_pipelines.engine.local import Local
from data_pipelines.run import Sizes, curate
from data_pipelines.sharded import cut_shards
from data_pipelines.table import add_column, drop, replace
from data_pipelines.targets import features, parquet
from ssljax.core.errors import ConfigError, DataError, MissingExtraError
from ssljax.sources import array_record, images, token_shards
from ssljax.sources import parquet as parquet_source
from ssljax.sources.manifest import verify

COUNT = 60


@pytest.fixture
def split_table(table, prose):
    made = drop(table([prose(i, 10 + i) for i in range(COUNT)]), {3: ("too_short", "1 < 2")})
    return replace(made, "split", [None if i == 3 else "validation" if i % 8 == 0 else "train"
                                   for i in range(COUNT)])


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a table by a target; it returns the folder and the result."""
    def make(target, table, name="out", partitions=1):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.work").mkdir()
        engine = Engine(tmp_path / f"{name}.work", executor=Once())
        blocks = engine.hold(table)
        engine.partition_bytes = -(-blocks.bytes // partitions)
        given, _ = run.order(blocks, target.columns, tmp_path / name, engine)
        return tmp_path / name, target.write(given)

    return make


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_records_are_every_kept_row_once_shuffled_and_cut_to_size(write, split_table, tmp_path):
    target = parquet.make(columns=("text", "source"), shard_bytes=2000, group_rows=4)
    folder, made = write(target, split_table)
    source = parquet_source.make(path=str(folder / "train"), cache=str(tmp_path / "cache"))
    rows = source.read(np.arange(len(source)))
    wanted = {i: (t, s) for i, t, s, d in zip(*(split_table[n].to_pylist() for n in (
        "id", "text", "source", "split"))) if d == "train"}
    assert {r["document"]: (r["text"], r["source"]) for r in rows} == wanted
    assert len(rows) == len(wanted) == made.splits["train"].summary["documents"]
    assert [r["source"] for r in rows] != sorted(r["source"] for r in rows)
    shards = made.splits["train"].shards
    assert len(shards) > 3 and sum(s.records for s in shards) == len(rows)
    assert sum(len(t.encode()) for t, _ in wanted.values()) == made.splits["train"].summary[
        "text_bytes"]


def test_shards_do_not_depend_on_partitions(write, split_table):
    target = parquet.make(shard_bytes=2000)
    folders = [write(target, split_table, name=f"out{n}", partitions=n)[0] for n in (1, 3, 7)]
    assert content(folders[0]) == content(folders[1]) == content(folders[2])
    assert len(content(folders[0])) > 4


def test_shards_are_cut_where_a_record_reaches_their_size():
    sizes = [np.array([3, 4, 5]), np.array([], np.int64), np.array([30, 1, 1])]
    assert cut_shards(sizes, 10) == [[(0, 0, 3)], [(2, 0, 1)], [(2, 1, 3)]]
    assert cut_shards([np.array([0, 0]), np.array([0])], 10) == [[(0, 0, 2), (1, 0, 1)]]
    assert cut_shards([np.array([], np.int64)], 10) == []


def test_array_records_come_back_as_fields_without_nulls(write, split_table, tmp_path):
    pytest.importorskip("array_record", reason="needs ssljax[train]")
    from data_pipelines.targets import array_record as target
    vectors = pa.array([[float(i), 0.5] for i in range(COUNT)], pa.list_(pa.float32()))
    table = add_column(add_column(split_table, "vector", vectors), "label", pa.array(
        [None if i % 2 else i for i in range(COUNT)], pa.int64()))
    made = target.make(columns=("text", "vector", "label"), shard_bytes=3000)
    folders = [write(made, table, name=f"out{n}", partitions=n)[0] for n in (1, 4)]
    assert content(folders[0]) == content(folders[1])
    source = array_record.make(path=str(folders[0] / "train"), cache=str(tmp_path / "cache"))
    rows = source.read(np.arange(len(source)))
    for row in rows:
        i = int(row["vector"][0])
        assert row["text"] == table["text"][i].as_py() and row["document"] == table["id"][i].as_py()
        assert row["vector"].dtype == np.float32 and row.get("label") == (None if i % 2 else i)
    assert len(rows) == sum(s == "train" for s in table["split"].to_pylist())


@pytest.mark.parametrize("name", ["array_record", "parquet"])
def test_images_are_read_by_the_source_of_images(write, split_table, tmp_path, name):
    pytest.importorskip(name if name != "parquet" else "pyarrow", reason="needs ssljax[train]")
    from PIL import Image
    target = __import__("importlib").import_module(f"data_pipelines.targets.{name}")

    def png(i):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8), (i, 0, 0)).save(stream, "png")
        return stream.getvalue()

    table = add_column(split_table, "image", pa.array(map(png, range(COUNT)), pa.large_binary()))
    folder, made = write(target.make(columns=("image",)), table)
    source = images.make(path=str(folder / "validation"), cache=str(tmp_path / "cache"))
    seen = {Image.open(io.BytesIO(r["image"])).getpixel((0, 0))[0]
            for r in source.read(np.arange(len(source)))}
    assert seen == set(range(0, COUNT, 8)) and made.splits["validation"].summary["text_bytes"] == 0


def test_features_are_vectors_in_the_order_asked_for(write, split_table, tmp_path):
    table = add_column(split_table, "b", pa.array(range(COUNT), pa.int64()))
    table = add_column(table, "a", pa.array([None if i == 5 else i / 2 for i in range(COUNT)],
                                            pa.float64()))
    table = add_column(table, "kind_id", pa.array([i % 3 for i in range(COUNT)], pa.int32()))
    target = features.make(columns=("b", "a"), categories=("kind_id",), others=("source",))
    folder, made = write(target, table)
    source = parquet_source.make(path=str(folder / "train"), cache=str(tmp_path / "cache"))
    for row in source.read(np.arange(len(source))):
        i = int(row["source"].split(".")[0])
        np.testing.assert_array_equal(row["features"], np.float32([i, np.nan if i == 5 else i / 2]))
        assert row["features"].dtype == np.float32 and row["categories"].tolist() == [i % 3]
        assert row.keys() == {"id", "features", "categories", "source", "document"}
    assert json.loads((folder / "features.json").read_bytes()) == {
        "features": ["b", "a"], "categories": ["kind_id"]}
    assert [f.path for f in made.files] == ["features.json"]


def test_mistakes_are_named(write, split_table):
    with pytest.raises(ConfigError, match='the column "txt".*did you mean "text"'):
        write(parquet.make(columns=("txt",)), split_table)
    with pytest.raises(DataError, match='"source" is string'):
        write(features.make(columns=("source",)), split_table, name="other")
    for wrong in (dict(columns=()), dict(columns=("a",), shard_bytes=0)):
        with pytest.raises(ConfigError, match="target"):
            features.make(**wrong)


def test_without_array_record_the_extra_is_named_before_anything_runs(monkeypatch):
    from data_pipelines.targets import array_record as target
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"ssljax\[train\]"):
        target.make()


def test_a_recipe_writes_parquet_the_same_with_any_workers_and_names_its_version(recipe, tmp_path):
    target = {"name": "parquet", "columns": ["text", "source"], "shard_bytes": 6000}
    first = curate(recipe(target=target), sizes=Sizes(1 << 20, 1 << 20, 1 << 20), workers=1)
    second = curate(recipe(target=target, output=str(tmp_path / "again")),
                    sizes=Sizes(8000, 9000, 7000), workers=2)
    assert second == first and content(tmp_path / "out") == content(tmp_path / "again")
    verify(tmp_path / "out", first, "checksum")
    assert first.read == first.kept + sum(first.dropped.values()) == 60
    assert first.parents[0]["version"] == first.version and first.tokenizer_hash == ""
    assert sum(s.records for s in first.shards) == first.kept
    with pytest.raises(DataError, match="holds no tokens"):
        token_shards.make(path=str(tmp_path / "out"))


def test_a_killed_writer_of_shards_leaves_one_of_each(recipe, tmp_path, monkeypatch):
    """A run that dies between shards continues with those that are there."""
    config = recipe(target={"name": "parquet", "shard_bytes": 6000})
    real, packed = Local.run, []

    def dies(self, calls):
        for done in real(self, calls):
            packed.append(calls[done].function.__name__)
            if packed.count("pack") == 2:
                raise KeyboardInterrupt
            yield done

    monkeypatch.setattr(Local, "run", dies)
    with pytest.raises(KeyboardInterrupt):
        curate(config, workers=1)
    monkeypatch.setattr(Local, "run", real)
    first = curate(config, workers=1)
    assert content(tmp_path / "out") == content_of(recipe, tmp_path, first)


def content_of(recipe, tmp_path, manifest):
    """Return the files of a run that nothing disturbed."""
    config = recipe(target={"name": "parquet", "shard_bytes": 6000},
                    output=str(tmp_path / "undisturbed"))
    assert curate(config, workers=1) == manifest
    return content(tmp_path / "undisturbed")
