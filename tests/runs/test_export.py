"""What export writes is what was trained, whatever trained it, and runs where that is not."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from ssljax.cli.main import main
from ssljax.core.errors import ArtefactError, ServeError
from ssljax.export.artefact import write_artefact
from ssljax.runs import export as module
from ssljax.runs.export import export_run
from ssljax.runs.generate import generate
from ssljax.runs.restore import Restored, load_run
from ssljax.serve.artefact import load_artefact
from ssljax.serve.device import make_device
from tests import compiler_flags

ROOT = Path(__file__).parents[2]



def test_artefact_agrees_with_the_run_trained_on_a_mesh_in_bfloat16(exported):
    restored = load_run(exported.run)
    params, _ = restored.objective.encoder(restored.params, restored.extra)
    artefact = load_artefact(exported.artefact)
    tokens = np.random.default_rng(2).integers(300, size=(2, 30), dtype=np.int32)
    right = jax.jit(restored.model.apply)(params, {"tokens": tokens})["logits"]
    here = jax.jit(artefact.functions["score"])(artefact.weights, {"tokens": tokens})["logits"]
    np.testing.assert_allclose(here, right, atol=1e-5)
    dtypes = {leaf.dtype for leaf in load_file(exported.artefact / "model.safetensors").values()}
    assert dtypes == {np.dtype("float32")}


def test_manifest_tells_where_the_model_comes_from(exported):
    manifest = json.loads((exported.artefact / "manifest.json").read_text())
    data = json.loads((exported.data / "manifest.json").read_text())
    assert manifest["lineage"]["dataset"] == {"name": data["name"], "version": data["version"]}
    assert (manifest["lineage"]["run"], manifest["lineage"]["step"]) == ("run", 2)
    assert manifest["tokenizer"]["fingerprint"] == data["tokenizer_hash"]
    assert (manifest["kind"], manifest["max_context"], manifest["vocab_size"]) == ("decoder", 64,
                                                                                   304)
    assert manifest["platforms"] == ["cpu", "cuda", "tpu"]
    inputs = manifest["functions"]["prefill"]["inputs"]
    assert inputs["tokens"] == {"shape": ["b", "l"], "dtype": "int32"}
    assert manifest["functions"]["score"]["constraints"] == ["b >= 1", "l >= 1"]
    assert manifest["functions"]["score"]["postprocessing"] == [
        {"name": "keep", "output": "logits", "first": 300}]
    assert manifest["functions"]["embed"]["buckets"] == {"b": [1, 2, 4, 8, 16], "l": [32, 64]}
    assert [step["name"] for step in manifest["preprocessing"]["tokens"]] == [
        "tokenise", "prepend", "window"]
    assert manifest["lineage"]["data"]["tokenizer"] == manifest["tokenizer"]["fingerprint"]
    assert manifest["jax"]["version"] == jax.__version__
    assert json.loads((exported.artefact / "config.json").read_text())["total_steps"] == 2
    listed = set(manifest["files"]) | {"manifest.json"}
    assert listed == {path.name for path in exported.artefact.iterdir()}
    assert exported.summary["bytes"] == sum(f["bytes"] for f in manifest["files"].values())


def test_card_names_data_licences_and_that_nothing_was_evaluated(exported):
    card = (exported.artefact / "README.md").read_text()
    for words in ("# tiny", "CC0-1.0", "`gpt`", "Step 2 of run `run`", "not evaluated"):
        assert words in card


def test_code_on_the_card_runs_without_ssljax(exported, tmp_path):
    card = (exported.artefact / "README.md").read_text()
    code = textwrap.dedent(card.split("safetensors only:")[1].split("Shapes, types")[0])
    check = "print(outputs['logits'].shape, 'ssljax' in __import__('sys').modules)"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    out = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], cwd=exported.artefact,
                         capture_output=True, text=True, timeout=120, env=environment)
    assert out.stdout == "(1, 1, 304) False\n", out.stderr


def test_no_path_of_this_machine_is_in_the_programs(exported):
    for file in exported.artefact.glob("*.jaxexp"):
        assert not re.search(rb"/[\w./-]+\.py", file.read_bytes())


def test_generate_prints_in_a_process_with_one_device_what_it_says_here(exported):
    out = subprocess.run(
        [sys.executable, "-m", "ssljax.cli.main", "generate", exported.artefact, "--prompt",
         "Sentence", "--max-tokens", "9", "--seed", "3"], capture_output=True, text=True,
        env={**os.environ, "XLA_FLAGS": compiler_flags.FLAGS, "JAX_PLATFORMS": "cpu"}, cwd=ROOT,
        timeout=120)
    assert out.returncode == 0, out.stderr
    here = "".join(generate(exported.artefact, "Sentence", max_tokens=9, seed=3))
    assert out.stdout == f"{here}\n" and here.startswith("Sentence") and len(here) > 12


def test_export_verb_replaces_an_older_artefact_and_says_what_it_wrote(exported, tmp_path, capsys):
    folder = shutil.copytree(exported.artefact, tmp_path / "artefact")
    (folder / "left-over").write_text("of the old one")
    assert main(["export", str(exported.run), "--output", str(folder), "--name", "again"]) == 0
    out = capsys.readouterr().out
    assert f'Step 2 of {exported.run} as decoder "again"' in out
    assert f"ssljax serve {folder}" in out
    assert load_artefact(folder).manifest["name"] == "again"
    assert {path.name for path in tmp_path.iterdir()} == {"artefact"}
    assert not (folder / "left-over").exists()


def test_other_folders_are_never_overwritten(exported, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtefactError, match="is not an artefact.*choose another --output"):
        export_run(exported.run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_failure_while_writing_leaves_the_old_artefact_and_nothing_else(
        exported, tmp_path, monkeypatch):
    folder = shutil.copytree(exported.artefact, tmp_path / "artefact")
    monkeypatch.setattr(module, "write_artefact", lambda output, contents: write_artefact(
        output, contents._replace(files={"README.md": None})))
    with pytest.raises(TypeError):
        export_run(exported.run, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["artefact"]
    assert load_artefact(folder).manifest["name"] == "tiny"


def test_tokenizer_that_changed_since_training_is_refused(exported, tmp_path, monkeypatch):
    restored = load_run(exported.run)
    (tmp_path / "tokenizer.json").write_text(
        (exported.data / "tokenizer.json").read_text() + "\n")
    config = restored.config | {"source": {**restored.config["source"], "path": str(tmp_path)}}
    monkeypatch.setattr(module, "load_run", lambda path, step: Restored(
        **{**vars(restored), "config": config}))
    with pytest.raises(ArtefactError, match="tokenizer.json has changed since training"):
        export_run(exported.run, tmp_path / "artefact")


def test_encoder_exports_from_the_same_code(encoder):
    method, state, path = encoder
    artefact = load_artefact(path)
    images = np.random.default_rng(0).random((5, 8, 8, 1), np.float32)
    params, stats = method.objective.encoder(state.params, state.extra)
    right = jax.jit(method.model.apply)(params, {"image": images})["pooled"]
    here = jax.jit(artefact.functions["embed"])(artefact.weights, {"image": images})["pooled"]
    np.testing.assert_allclose(here, right, atol=1e-5)
    assert artefact.manifest["image"] == {"shape": [8, 8, 1], "dtype": "float32"}
    with pytest.raises(ServeError, match="is an encoder"):
        make_device(artefact, slots=1)
