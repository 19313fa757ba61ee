"""The manifest: whole or absent, and damage is named with what to do."""

import dataclasses
import hashlib
import json

import pytest

from ssljax.core.errors import DataError
from ssljax.sources.manifest import (
    NAME,
    File,
    Manifest,
    Shard,
    content_version,
    read_manifest,
    verify,
    write_manifest,
)

CONTENT = b"0123456789"
SHA = hashlib.sha256(CONTENT).hexdigest()


def example(**changes):
    manifest = Manifest(
        name="test", version="v", parents=({"path": "x", "listing": "l"},), licences={"MIT": 2},
        recipe={"steps": ["a"]}, recipe_hash="r", tokenizer_hash="t", vocab_size=300,
        splits={"train": {"documents": 2, "tokens": 5, "text_bytes": 9}},
        shards=(Shard("train/00000.tokens", 10, SHA, "train", 2, 5),),
        files=(File("train/00000.offsets", 10, SHA),), read=3, kept=2, dropped={"too_short": 1})
    return dataclasses.replace(manifest, **changes)


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "train").mkdir()
    for name in ("00000.tokens", "00000.offsets"):
        (tmp_path / "train" / name).write_bytes(CONTENT)
    write_manifest(tmp_path, example())
    return tmp_path


def test_what_is_written_is_read_back(dataset):
    assert read_manifest(dataset) == example()
    assert not list(dataset.glob("*.partial"))


def test_a_folder_without_manifest_is_no_dataset(tmp_path):
    with pytest.raises(DataError, match="a dataset without one does not exist"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content, says", [
    ("{", "not a manifest"), ("[]", "not a manifest"), ('{"format": 99}', "format 99"),
    ('{"format": 1}', "not a manifest of format 1"),
    (json.dumps(dataclasses.asdict(example()) | {"surprise": 1}), "surprise")])
def test_a_bad_manifest_is_named(tmp_path, content, says):
    (tmp_path / NAME).write_text(content)
    with pytest.raises(DataError, match=says):
        read_manifest(tmp_path)


def test_an_interrupted_write_leaves_the_old_manifest(dataset, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        write_manifest(dataset, example(name="new"))
    assert read_manifest(dataset).name == "test"


@pytest.mark.parametrize("how", ["size", "checksum"])
def test_a_whole_dataset_verifies(dataset, how):
    verify(dataset, example(), how)


@pytest.mark.parametrize("name", ["train/00000.tokens", "train/00000.offsets"])
@pytest.mark.parametrize("content, says", [
    (None, "cannot be read .No such file or directory., expected 10 bytes"),
    (b"", "is empty: 0 bytes, expected 10"), (CONTENT[:4], "is truncated: 4 bytes, expected 10"),
    (CONTENT * 2, "is too long: 20 bytes, expected 10")])
@pytest.mark.parametrize("how", ["size", "checksum"])
def test_a_damaged_file_is_named_with_what_was_seen(dataset, name, content, says, how):
    (dataset / name).unlink() if content is None else (dataset / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} {says}.*curate") as caught:
        verify(dataset, example(), how)
    assert str(dataset) in str(caught.value)


def test_a_flipped_bit_fails_the_checksum_and_not_the_size(dataset):
    (dataset / "train/00000.tokens").write_bytes(b"0123456788")
    verify(dataset, example(), "size")
    with pytest.raises(DataError, match=f"train/00000.tokens has changed: .*expected {SHA[:12]}"):
        verify(dataset, example(), "checksum")


def test_the_version_depends_on_content_and_not_on_order():
    files = [File("a", 1, "x"), File("b", 1, "y")]
    assert content_version(files) == content_version(files[::-1])
    assert content_version(files) != content_version([files[0], File("b", 1, "z")])
