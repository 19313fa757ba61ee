"""The folder is whole or absent, and its manifest is true."""

import json
import os
from hashlib import sha256

import numpy as np
import pytest
from safetensors.numpy import load_file

from ssljax.core.errors import ArtefactError
from ssljax.core.signature import is_signed_by
from ssljax.export.artefact import Contents, digest, write_artefact
from ssljax.export.golden import Golden
from ssljax.export.stablehlo import Program

CONTENTS = Contents(
    about={"kind": "decoder", "name": "x", "max_context": 100},
    programs={"score": Program(b"program", {"tokens": {"shape": ["b", "l"], "dtype": "int32"}}, {},
                               ("b >= 1",), lambda weights, inputs: {})},
    weights={"params": {"a": {"w": np.ones((2, 3), np.float32)}, "b": np.zeros(4, np.float32)}},
    golden=Golden({"score/inputs/tokens": np.zeros((1, 2), np.int32)},
                  {"score": {"sizes": {"b": 1, "l": 2}, "filled": []}}),
    files={"README.md": b"card"})


def test_manifest_lists_every_other_file_with_its_checksum(tmp_path):
    manifest = write_artefact(tmp_path / "out", CONTENTS)
    assert json.loads((tmp_path / "out/manifest.json").read_text()) == manifest
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    del found["manifest.json"]
    assert manifest["files"] == {
        name: {"bytes": len(data), "sha256": sha256(data).hexdigest()}
        for name, data in found.items()}
    assert set(found) == {"model.safetensors", "score.jaxexp", "golden.safetensors", "README.md"}
    assert manifest["functions"]["score"] == {
        "file": "score.jaxexp", "inputs": {"tokens": {"shape": ["b", "l"], "dtype": "int32"}},
        "outputs": {}, "constraints": ["b >= 1"], "postprocessing": [],
        "golden": {"sizes": {"b": 1, "l": 2}, "filled": []},
        "buckets": {"b": [1, 2, 4, 8, 16], "l": [32, 64, 100]}}
    assert manifest["abi"] == 2 and manifest["jax"]["calling_convention"] >= 10
    assert manifest["weights"] == {"files": ["model.safetensors"], "bytes": 40, "arrays": 2}
    assert manifest.pop("sha256") == digest(manifest)


def test_every_file_is_as_readable_as_the_others(tmp_path):
    write_artefact(tmp_path / "out", CONTENTS)
    assert len({os.stat(path).st_mode for path in (tmp_path / "out").iterdir()}) == 1


def test_empty_folder_is_taken_and_missing_parents_are_made(tmp_path):
    (tmp_path / "empty").mkdir()
    write_artefact(tmp_path / "empty", CONTENTS)
    write_artefact(tmp_path / "a/b/c", CONTENTS)
    assert (tmp_path / "empty/manifest.json").is_file() and (tmp_path / "a/b/c/README.md").is_file()


def test_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ArtefactError, match="out exists and is not an artefact"):
        write_artefact(tmp_path / "out", CONTENTS)
    (tmp_path / "deep").write_text("mine")
    with pytest.raises(ArtefactError, match="Choose another --output"):
        write_artefact(tmp_path / "deep/out", CONTENTS)
    assert (tmp_path / "out").read_text() == (tmp_path / "deep").read_text() == "mine"


def test_large_weights_go_into_several_files_with_an_index(tmp_path):
    leaves = {name: np.full(100, i, np.float32) for i, name in enumerate("abcde")}
    contents = CONTENTS._replace(weights={"params": {**leaves, "big": np.ones(300, np.float32)}})
    manifest = write_artefact(tmp_path / "out", contents, shard=900)
    files = [f"model-{i:05d}-of-00004.safetensors" for i in (1, 2, 3, 4)]
    assert manifest["weights"] == {"files": files, "bytes": 3200, "arrays": 6}
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 3200}
    assert set(index["weight_map"].values()) == set(files)
    for name, file in index["weight_map"].items():
        held = load_file(tmp_path / "out" / file)
        np.testing.assert_array_equal(held[name], contents.weights["params"][name[7:]])
        assert sum(leaf.nbytes for leaf in held.values()) <= 900 or len(held) == 1
    assert len({os.stat(path).st_mode for path in (tmp_path / "out").iterdir()}) == 1


def test_signed_manifest_is_verified_by_its_public_key_only(tmp_path, keys):
    write_artefact(tmp_path / "out", CONTENTS, key=keys.private)
    data = (tmp_path / "out/manifest.json").read_bytes()
    signature = (tmp_path / "out/manifest.json.sig").read_bytes()
    assert is_signed_by(data, signature, [keys.other, keys.public])
    assert not is_signed_by(data, signature, [keys.other])
    assert not is_signed_by(data + b" ", signature, [keys.public])


def test_key_that_is_none_ends_it_before_anything_is_written(tmp_path, keys):
    for key, message in ((keys.public, "no private key"), (tmp_path / "absent", "cannot be read")):
        with pytest.raises(ArtefactError, match=message):
            write_artefact(tmp_path / "out", CONTENTS, key=key)
    assert not (tmp_path / "out").exists()
