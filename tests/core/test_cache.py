"""Cache entries: made once, whole or absent, and made again when damaged."""

import json

import pytest

from ssljax.core.cache import content_hash, entry
from ssljax.core.errors import DataError
from ssljax.core.files import sha256


def counted(calls, data=b"content"):
    def write(folder):
        calls.append(folder)
        (folder / "data").write_bytes(data)
    return write


def test_equal_keys_share_one_entry_that_is_made_once(tmp_path):
    calls = []
    folders = {entry(tmp_path, "kind", key, counted(calls))
               for key in ({"a": 1, "b": 2}, {"b": 2, "a": 1})}
    assert len(folders) == len(calls) == 1
    assert (folders.pop() / "data").read_bytes() == b"content"
    assert entry(tmp_path, "kind", {"a": 2}, counted(calls)) and len(calls) == 2


def test_a_truncated_entry_is_made_again(tmp_path):
    calls = []
    folder = entry(tmp_path, "kind", {}, counted(calls))
    (folder / "data").write_bytes(b"con")
    assert (entry(tmp_path, "kind", {}, counted(calls)) / "data").read_bytes() == b"content"
    assert len(calls) == 2


def test_a_failed_write_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "data").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        entry(tmp_path, "kind", {}, fail)
    assert not list((tmp_path / "kind").iterdir())


def test_the_process_that_loses_the_race_uses_the_winners(tmp_path):
    def slow(folder):
        winner = entry(tmp_path, "kind", {}, counted([], b"winner"))
        (folder / "data").write_bytes(b"loser")
        assert winner.is_dir()

    assert (entry(tmp_path, "kind", {}, slow) / "data").read_bytes() == b"winner"
    assert len(list((tmp_path / "kind").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written: .*set config.cache"):
        entry(tmp_path / "file", "kind", {}, counted([]))


def test_checksums_are_read_once_and_again_after_a_change(tmp_path):
    path, cache = tmp_path / "data", tmp_path / "cache"
    path.write_bytes(b"one")
    assert content_hash(path, cache) == sha256(path) == content_hash(path, cache)
    assert len(list((cache / "hashes").iterdir())) == 1
    path.write_bytes(b"three")
    assert content_hash(path, cache) == sha256(path)
    kept = [json.loads((f / "key.json").read_text())["key"]["bytes"]
            for f in (cache / "hashes").iterdir()]
    assert sorted(kept) == [3, 5]
