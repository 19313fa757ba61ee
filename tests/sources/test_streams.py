"""Streams without random access are written out once; datasets with an index are read in place."""

import sys
import types

import grain
import numpy as np
import pytest

from ssljax.core.config import resolve
from ssljax.core.errors import ConfigError, DataError
from ssljax.core.source import Source
from ssljax.sources import arrays, indexed, materialised, tokenised
from ssljax.tokenizers import byte

CALLS = []


def plugin(monkeypatch, make):
    """Install a user's module `mylab_data` with this `make`."""
    module = types.ModuleType("mylab_data")
    module.make = make
    make.__module__ = "mylab_data"
    monkeypatch.setitem(sys.modules, "mylab_data", module)
    monkeypatch.setitem(sys.modules, "mylab_data.records", module)
    indexed.open_dataset.cache_clear()


def crawl(*, count: int = 5):
    CALLS.append(count)
    return ({"id": "theirs", "value": np.int64(i), "text": f"text {i}"} for i in range(count))


def pipeline(*, count: int = 6):
    return grain.MapDataset.range(count).seed(3).random_map(
        lambda i, rng: {"value": np.int64(i), "draw": rng.integers(1000)})


@pytest.fixture
def stream(monkeypatch):
    CALLS.clear()
    plugin(monkeypatch, crawl)
    return {"name": "mylab_data.records", "count": 5}


def values(source):
    return [int(r["value"]) for r in source.read(np.arange(len(source)))]


def test_a_generator_is_read_once_and_then_by_index(stream, tmp_path):
    sources = [materialised.make(stream=stream, version="1", cache=str(tmp_path))
               for _ in range(2)]
    assert CALLS == [5]
    assert isinstance(sources[0], Source) and values(sources[1]) == list(range(5))
    (record,) = sources[0].read(np.array([3]))
    assert record["text"] == "text 3" and record["id"].dtype == np.uint32
    materialised.make(stream=stream, version="2", cache=str(tmp_path))
    assert CALLS == [5, 5]


def test_a_limit_ends_an_endless_stream(monkeypatch, tmp_path):
    def endless():
        return ({"value": np.int64(i)} for i in iter(int, 1))

    plugin(monkeypatch, endless)
    source = materialised.make(stream={"name": "mylab_data.records"}, version="1", limit=7,
                               cache=str(tmp_path))
    assert len(source) == 7


def test_changed_content_changes_the_fingerprint(monkeypatch, tmp_path, stream):
    first = materialised.make(stream=stream, version="1", cache=str(tmp_path / "a"))
    again = materialised.make(stream=stream, version="1", cache=str(tmp_path / "b"))
    assert first.fingerprint() == again.fingerprint()
    other = materialised.make(stream=stream | {"count": 4}, version="1", cache=str(tmp_path / "c"))
    assert other.fingerprint() != first.fingerprint()


@pytest.mark.parametrize("made, says", [
    (lambda: iter(()), "stream is empty"), (lambda: iter([1]), "Record 0 of the stream is a int")])
def test_a_stream_that_cannot_be_stored_is_refused(made, says, monkeypatch, tmp_path):
    plugin(monkeypatch, made)
    with pytest.raises(DataError, match=says):
        materialised.make(stream={"name": "mylab_data.records"}, version="1", cache=str(tmp_path))


def test_a_source_of_ours_can_be_materialised(tmp_path):
    np.save(tmp_path / "value.npy", np.arange(9))
    source = materialised.make(stream={"name": "arrays", "path": str(tmp_path)}, version="1",
                               cache=str(tmp_path / "cache"))
    assert values(source) == list(range(9))


def test_a_users_grain_pipeline_is_read_in_place(monkeypatch):
    plugin(monkeypatch, pipeline)
    spec = {"name": "indexed", "dataset": {"name": "mylab_data.records"}, "version": "1"}
    source = resolve("sources", spec, cache="unused")
    assert isinstance(source, Source) and values(source) == list(range(6))
    draws = [int(r["draw"]) for r in source.read(np.array([4, 1, 4]))]
    assert draws[0] == draws[2] == int(pipeline()[4]["draw"])
    other = indexed.make(dataset=spec["dataset"], version="2")
    assert other.fingerprint() != source.fingerprint()


@pytest.mark.parametrize("made, says", [
    (lambda: pipeline().to_iter_dataset(), "no random access; name it as the stream of a `mater"),
    (lambda: pipeline().repeat(), "Leave repeat out"),
    (lambda: (), "has 0 elements")])
def test_a_dataset_that_cannot_be_indexed_is_refused(made, says, monkeypatch):
    plugin(monkeypatch, made)
    with pytest.raises(ConfigError, match=says):
        indexed.make(dataset={"name": "mylab_data.records"}, version="1")


def test_a_grain_iterator_is_materialised(monkeypatch, tmp_path):
    plugin(monkeypatch, lambda: pipeline().to_iter_dataset())
    source = materialised.make(stream={"name": "mylab_data.records"}, version="1",
                               cache=str(tmp_path))
    assert values(source) == list(range(6))


def test_holes_and_bare_values_are_named(monkeypatch):
    plugin(monkeypatch, lambda: [7, None])
    spec = {"name": "mylab_data.records"}
    with pytest.raises(DataError, match="is a int; expected a mapping, or set source.field"):
        indexed.make(dataset=spec, version="1").read(np.array([0]))
    source = indexed.make(dataset=spec, version="1", field="value")
    assert int(source.read(np.array([0]))[0]["value"]) == 7
    with pytest.raises(DataError, match="Element 1 .* is None: a filter leaves holes"):
        source.read(np.array([1]))


def test_texts_become_ids_once(stream, tmp_path):
    texts = materialised.make(stream=stream, version="1", cache=str(tmp_path))
    source = tokenised.make(source=texts, tokenizer=byte.make(), cache=str(tmp_path))
    assert bytes(source.read(np.array([2]))[0]["tokens"].tolist()) == b"text 2"
    assert source.vocabulary.end_of_text == 256 and source.vocabulary.size == 257
    with pytest.raises(DataError, match="no text in 'body': it has"):
        tokenised.make(source=texts, tokenizer=byte.make(), field="body", cache=str(tmp_path))
    with pytest.raises(DataError, match="no text in 'value'"):
        tokenised.make(source=arrays.from_mapping({"value": np.arange(3)}), field="value",
                       tokenizer=byte.make(), cache=str(tmp_path))
