"""The folder is whole or absent, and its manifest is true."""

import json
import os
from hashlib import sha256

import numpy as np
import pytest

from ssljax.core.errors import ArtefactError
from ssljax.export.artefact import Contents, digest, write_artefact
from ssljax.export.stablehlo import Program

CONTENTS = Contents(
    about={"kind": "decoder", "name": "x"},
    programs={"score": Program(b"program", {"tokens": {"shape": ["b"], "dtype": "int32"}}, {},
                               ("b >= 1",))},
    weights={"params": {"a": {"w": np.ones((2, 3), np.float32)}, "b": np.zeros(4, np.float32)}},
    golden={"tokens": np.zeros((1, 2), np.int32)}, files={"README.md": b"card"})


def test_manifest_lists_every_other_file_with_its_checksum(tmp_path):
    manifest = write_artefact(tmp_path / "out", CONTENTS)
    assert json.loads((tmp_path / "out/manifest.json").read_text()) == manifest
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    del found["manifest.json"]
    assert manifest["files"] == {
        name: {"bytes": len(data), "sha256": sha256(data).hexdigest()}
        for name, data in found.items()}
    assert set(found) == {"weights.safetensors", "score.jaxexp", "golden.npz", "README.md"}
    assert manifest["functions"]["score"]["file"] == "score.jaxexp"
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
