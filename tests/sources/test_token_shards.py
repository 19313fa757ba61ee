"""Token shards: exact records by random access, small pickles, threads, and damage refused."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ssljax.core.errors import DataError
from ssljax.core.files import sha256
from ssljax.core.source import SizedSource
from ssljax.sources import token_shards
from ssljax.sources.manifest import File, Manifest, Shard, write_manifest


def write_dataset(folder, shards, vocab_size=1000, version="v1"):
    """Write `shards`, {split: [[ids of a document, ...] of a shard, ...]}, by hand."""
    listed, files = [], []
    for split, groups in shards.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for number, documents in enumerate(groups):
            path = folder / split / f"{number:05d}.tokens"
            flat = np.array([i for d in documents for i in d],
                            "<u2" if vocab_size < 65536 else "<u4")
            flat.tofile(path)
            offsets = path.with_suffix(".offsets")
            np.cumsum([0, *map(len, documents)]).astype("<i8").tofile(offsets)
            name = f"{split}/{path.name}"
            listed.append(Shard(name, path.stat().st_size, sha256(path), split,
                                len(documents), len(flat)))
            files.append(File(f"{split}/{offsets.name}", offsets.stat().st_size,
                              sha256(offsets)))
    write_manifest(folder, Manifest(
        name="t", version=version, parents=(), licences={}, recipe={}, recipe_hash="r",
        tokenizer_hash="tok", vocab_size=vocab_size, shards=tuple(listed), files=tuple(files),
        splits={s: {"documents": 0, "tokens": 0, "text_bytes": 77} for s in shards},
        read=0, kept=0, dropped={}))
    return str(folder)


TRAIN = [[[1, 2, 3], [], [4]], [[5, 6]], [[7], [8, 9, 10, 999]]]
FLAT = [d for shard in TRAIN for d in shard]


@pytest.fixture
def path(tmp_path):
    return write_dataset(tmp_path, {"train": TRAIN, "validation": [[[1]]]})


def test_records_are_the_documents_in_order_across_shards(path):
    source = token_shards.make(path=path)
    assert isinstance(source, SizedSource)
    assert len(source) == len(FLAT)
    assert [r["tokens"].tolist() for r in source.read(np.arange(len(FLAT)))] == FLAT
    assert source.lengths().tolist() == [len(d) for d in FLAT]
    assert source.lengths().dtype == np.int64


def test_reading_follows_the_indices_given(path):
    source = token_shards.make(path=path)
    assert [r["tokens"].tolist() for r in source.read(np.array([5, 0, 5]))] == [
        FLAT[5], FLAT[0], FLAT[5]]


def test_records_have_int32_tokens_and_distinct_stable_ids(path):
    records = token_shards.make(path=path).read(np.arange(len(FLAT)))
    assert {r["tokens"].dtype for r in records} == {np.dtype(np.int32)}
    assert {(r["id"].shape, r["id"].dtype) for r in records} == {((2,), np.dtype(np.uint32))}
    assert len({r["id"].tobytes() for r in records}) == len(FLAT)
    again = token_shards.make(path=path, verify="size").read(np.arange(len(FLAT)))
    assert [r["id"].tolist() for r in again] == [r["id"].tolist() for r in records]
    other = token_shards.make(path=path, split="validation").read(np.array([0]))
    assert other[0]["id"].tolist() != records[0]["id"].tolist()


@pytest.mark.parametrize("index", [-1, len(FLAT)])
def test_an_index_outside_is_an_error(path, index):
    with pytest.raises(IndexError, match=f"document {index}"):
        token_shards.make(path=path).read(np.array([index]))


def test_ids_beyond_sixteen_bits_survive(tmp_path):
    path = write_dataset(tmp_path, {"train": [[[70000, 1]]]}, vocab_size=100_000)
    assert token_shards.make(path=path).read(np.array([0]))[0]["tokens"].tolist() == [70000, 1]
    assert token_shards.tokens_dtype(65535) == np.uint16
    assert token_shards.tokens_dtype(65536) == np.uint32


def test_the_pickle_is_small_and_reads_the_same(tmp_path):
    path = write_dataset(tmp_path, {"train": [[[i] * 50 for i in range(100)]] * 20})
    source = token_shards.make(path=path)
    source.read(np.arange(100))
    data = pickle.dumps(source)
    assert len(data) < 1000
    assert pickle.loads(data).read(np.array([7]))[0]["tokens"].tolist() == [7] * 50


def test_threads_read_what_one_reads(tmp_path):
    path = write_dataset(tmp_path, {"train": [[[i] * (i % 9) for i in range(300)]]})
    source = token_shards.make(path=path)
    token_shards.open_shards.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda i: source.read(np.array([i]))[0]["tokens"].tolist(),
                             range(300)))
    assert read == [[i] * (i % 9) for i in range(300)]


def test_a_config_may_name_the_version_it_wants(path):
    version = token_shards.make(path=path).version
    assert token_shards.make(path=path, version=version[:8]).version == version
    with pytest.raises(DataError, match=f"is version {version}; source.version asks for f00"):
        token_shards.make(path=path, version="f00")


def test_the_fingerprint_names_version_tokenizer_and_split(path):
    source = token_shards.make(path=path)
    assert source.fingerprint() == {"version": "v1", "recipe": "r", "tokenizer": "tok",
                                    "split": "train"}
    assert (source.vocab_size, source.text_bytes) == (1000, 77)
    assert source.tokenizer_path == f"{path}/tokenizer.json"


def test_an_unknown_split_names_the_known(path):
    with pytest.raises(DataError, match='no split "validatoin"; did you mean "validation"'):
        token_shards.make(path=path, split="validatoin")


@pytest.mark.parametrize("damage, says", [
    (lambda p: p.write_bytes(b""), "00001.tokens is empty"),
    (lambda p: p.write_bytes(p.read_bytes()[:-1]), "00001.tokens is truncated"),
    (lambda p: p.write_bytes(b"\xff" * p.stat().st_size), "00001.tokens has changed"),
    (lambda p: p.unlink(), "00001.tokens cannot be read")])
def test_a_damaged_shard_is_refused_by_name(path, tmp_path, damage, says):
    damage(tmp_path / "train" / "00001.tokens")
    with pytest.raises(DataError, match=says):
        token_shards.make(path=path)


def test_a_dataset_exchanged_under_a_run_is_noticed(path, tmp_path):
    source = token_shards.make(path=path)
    write_dataset(tmp_path, {"train": [[[1]]]}, version="v2")
    token_shards.open_shards.cache_clear()
    with pytest.raises(DataError, match="now version v2; this run began with v1"):
        source.read(np.array([0]))
    assert len(token_shards.make(path=path)) == 1


def test_offsets_that_contradict_the_manifest_are_refused(path, tmp_path):
    offsets = tmp_path / "train" / "00000.offsets"
    np.array([1, 3, 3, 4], "<i8").tofile(offsets)
    with pytest.raises(DataError, match="00000.offsets has 4 offsets; expected 4, from 0 to 4"):
        len(token_shards.make(path=path, verify="size"))
