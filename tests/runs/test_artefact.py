"""What is opened is what was signed, and runs although jax has changed since it was written."""

import json
import shutil
import sys
from hashlib import sha256

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from ssljax.cli.main import main
from ssljax.core.errors import ArtefactError, ConfigError
from ssljax.evals.features import extractor
from ssljax.export.artefact import digest
from ssljax.runs import export, relower
from ssljax.runs.artefact import open_artefact
from ssljax.runs.export import export_run, host_weights
from ssljax.runs.linear_head import linear_head
from ssljax.runs.relower import relower_artefact
from ssljax.serve.artefact import ProgramError, load_artefact
from tests.export.conftest import keys  # noqa: F401  a fixture

DIGITS = {"name": "linear", "labels_per_class": 5, "draws": 2,
          "train_source": {"name": "digits", "split": "train"},
          "test_source": {"name": "digits", "split": "test"}}


@pytest.fixture
def run(encoder_run, monkeypatch):
    """Return the folder of a run that export_run finds, with a linear evaluator."""
    restored = type(encoder_run)(**{**vars(encoder_run), "config": {
        **encoder_run.config, "evals": {"linear": DIGITS}}})
    monkeypatch.setattr(export, "load_run", lambda path, step: restored)
    return restored


@pytest.fixture
def copy(encoder, tmp_path):
    return shutil.copytree(encoder[2], tmp_path / "copy")


def spoil(folder, name="embed.jaxexp"):
    """Put a program there that no jax reads, as one far too old would be."""
    (folder / name).write_bytes(b"\0" * 1000)
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["files"][name] = {"bytes": 1000, "sha256": sha256(b"\0" * 1000).hexdigest()}
    manifest["jax"]["version"] = "0.1.2"
    manifest.pop("sha256")
    file.write_text(json.dumps(manifest | {"sha256": digest(manifest)}))


def embedding(artefact):
    image = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    return np.asarray(jax.jit(artefact.functions["embed"])(
        artefact.weights, {"image": image})["pooled"])


def test_program_that_jax_cannot_read_is_lowered_again_once(encoder, copy, monkeypatch):
    spoil(copy)
    with pytest.raises(ProgramError, match="0.1.2"):
        load_artefact(copy)
    lowered = []
    monkeypatch.setattr(relower, "lower_again", lambda *a, f=relower.lower_again: (
        lowered.append(a), f(*a))[1])
    for _ in range(2):
        here = embedding(open_artefact(copy))
        np.testing.assert_array_equal(here, embedding(load_artefact(encoder[2])))
    assert len(lowered) == 1                       # the second time from the user's cache


@pytest.mark.slow
def test_relowered_artefact_is_whole_and_loads_without_model_code(encoder, copy, tmp_path, capsys):
    spoil(copy)
    assert main(["export", "--relower", str(copy), "--output", str(tmp_path / "new")]) == 0
    assert "embed, sequence" in capsys.readouterr().out
    loaded = load_artefact(tmp_path / "new")
    np.testing.assert_array_equal(embedding(loaded), embedding(load_artefact(encoder[2])))
    assert loaded.manifest["relowered"]["jax"]["version"] == "0.1.2"
    assert loaded.manifest["jax"]["version"] == jax.__version__
    relower_artefact(copy)                         # in its own place
    load_artefact(copy)


def test_server_without_model_code_says_what_to_install(copy, monkeypatch):
    spoil(copy, "sequence.jaxexp")
    monkeypatch.setitem(sys.modules, "ssljax.models.vit", None)
    with pytest.raises(ArtefactError, match=r"by jax 0\.1\.2, and the model code.*ssljax\[train\]"):
        open_artefact(copy)


def test_recipe_may_not_name_code_of_its_own(copy):
    spoil(copy)
    config = json.loads((copy / "config.json").read_text())
    data = json.dumps(config | {"model": {"name": "os.path"}}).encode()
    (copy / "config.json").write_bytes(data)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["config.json"] = {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    manifest.pop("sha256")
    (copy / "manifest.json").write_text(json.dumps(manifest | {"sha256": digest(manifest)}))
    with pytest.raises(ArtefactError, match='names the module "os.path"'):
        open_artefact(copy)


def test_signature_covers_every_byte_of_every_file(run, tmp_path, keys):  # noqa: F811
    folder = tmp_path / "signed"
    export_run(run.path, folder, key=keys.private)
    load_artefact(folder, trusted=[keys.other, keys.public])
    for name in sorted(path.name for path in folder.iterdir()):
        data = (folder / name).read_bytes()
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 1
        (folder / name).write_bytes(flipped)
        with pytest.raises(ArtefactError, match=name):
            load_artefact(folder, trusted=[keys.public])
        (folder / name).write_bytes(data)
    with pytest.raises(ArtefactError, match="none of the trusted keys"):
        load_artefact(folder, trusted=[keys.other])
    # Whoever changes a file and all checksums still lacks the key.
    spoil(folder)
    with pytest.raises(ArtefactError, match=r"manifest\.json is not what .*manifest\.json\.sig"):
        load_artefact(folder, trusted=[keys.public])


def test_unsigned_artefact_is_refused_where_a_key_is_asked_for(encoder, copy, keys):  # noqa: F811
    with pytest.raises(ArtefactError, match="is not signed.*--sign"):
        load_artefact(encoder[2], trusted=[keys.public])
    (copy / "manifest.json.sig").write_bytes(b"0" * 64)
    with pytest.raises(ArtefactError, match="config.json is no public key"):
        load_artefact(copy, trusted=[copy / "config.json"])
    with pytest.raises(ArtefactError, match="is not what"):
        load_artefact(copy, trusted=[keys.public])


@pytest.mark.parametrize(("kind", "dtype"), [
    ("int8", np.int8), pytest.param("fp8", np.uint8, marks=pytest.mark.slow)])
def test_quantised_artefact_is_small_near_and_says_by_how_much(run, encoder, tmp_path, kind, dtype):
    done = export_run(run.path, tmp_path / kind, quantize=kind, shard=4000)
    loaded = load_artefact(tmp_path / kind)
    told = loaded.manifest["quantisation"]
    assert told == done["quantisation"] and told["kind"] == kind
    assert told["bytes"] < 0.6 * told["bytes_before"]
    assert told["made_up"]["cosine_least"] > 0.99
    files = loaded.manifest["weights"]["files"]
    assert len(files) > 1 and (tmp_path / kind / "model.safetensors.index.json").is_file()
    held = [leaf for file in files for leaf in load_file(tmp_path / kind / file).values()]
    assert {leaf.dtype for leaf in held} == {np.dtype(dtype), np.dtype(np.float32)}
    full, here = embedding(load_artefact(encoder[2])), embedding(loaded)
    assert 0 < np.abs(here - full).max() < 0.1 * np.abs(full).max()
    card = (tmp_path / kind / "README.md").read_text()
    assert "## Eight-bit weights" in card and "| cosine least |" in card
    relower_artefact(tmp_path / kind)
    np.testing.assert_array_equal(embedding(load_artefact(tmp_path / kind)), here)


@pytest.mark.slow
def test_judged_rounding_compares_the_evaluators_figures(run, tmp_path, capsys):
    assert main(["export", str(run.path), "--output", str(tmp_path / "out"), "--quantize", "int8",
                 "--judge"]) == 0
    told = json.loads((tmp_path / "out/manifest.json").read_text())["quantisation"]["held_out"]
    pair = told["linear"]["linear"]
    assert 0.3 < pair["full"] <= 1 and abs(pair["full"] - pair["rounded"]) < 0.05
    assert "linear linear:" in capsys.readouterr().out


@pytest.mark.slow
def test_classifier_is_that_of_the_evaluator(run, tmp_path):
    export_run(run.path, tmp_path / "out", classify="linear")
    loaded = load_artefact(tmp_path / "out")
    told = loaded.manifest["functions"]["classify"]
    assert told["labels"] == [str(i) for i in range(10)] and told["labelled"] == 50
    assert told["postprocessing"] == [{"name": "softmax", "output": "logits"}]
    weights = host_weights(run)
    head = linear_head(run, weights, "linear")
    image = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    pooled = extractor(run.model, 4)(weights["params"], None, image)
    here = jax.jit(loaded.functions["classify"])(loaded.weights, {"image": image})["logits"]
    np.testing.assert_allclose(here, pooled @ head.weights["w"] + head.weights["b"], rtol=1e-3,
                               atol=1e-3)
    assert told["accuracy"]["value"] == head.facts["accuracy"]["value"] > 0.3
    assert "## Classifier" in (tmp_path / "out/README.md").read_text()


def test_classifier_that_the_config_does_not_have_is_named(run, tmp_path):
    with pytest.raises(ConfigError, match='no linear evaluator "knn"; it has linear'):
        export_run(run.path, tmp_path / "out", classify="knn")


@pytest.mark.parametrize("arguments", [["export"], ["export", "run"], ["export", "--output", "x"]])
def test_verb_says_what_it_needs(arguments, capsys):
    assert main(arguments) == 2
    assert "--relower ARTEFACT" in capsys.readouterr().err
