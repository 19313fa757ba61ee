"""An artefact loads where the models are not, and never when a byte of it is wrong."""

import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ssljax.core.errors import ArtefactError
from ssljax.export.artefact import digest
from ssljax.serve.artefact import load_artefact

FILES = ("manifest.json", "weights.safetensors", "score.jaxexp", "prefill.jaxexp",
         "decode.jaxexp", "golden.npz", "tokenizer.json")

ALONE = """
import sys
for name in ("ssljax.models", "ssljax.nn", "ssljax.objectives", "flax", "optax", "orbax", "grain"):
    sys.modules[name] = None              # any import of it fails
from pathlib import Path
from ssljax.serve.artefact import load_artefact
from ssljax.serve.device import make_device
from ssljax.serve.engine import start_engine
from ssljax.serve.jobs import Job, Sampling
import queue
artefact = load_artefact(Path(sys.argv[1]))
engine = start_engine(make_device(artefact, slots=3), artefact.tokenizer, queue=1)
pieces, ids = queue.Queue(), (256, *b"hello")
engine.submit([(Job(ids, "hello", 12, Sampling(temperature=0.0)), pieces.put)])
text = ""
while True:
    piece = pieces.get(timeout=60)
    assert piece.error is None, piece.error
    text += piece.text
    if piece.finish:
        break
engine.close()
assert not any(name.startswith(("flax", "ssljax.models")) and module for name, module
               in sys.modules.items())
print(ascii(text))
"""


@pytest.fixture
def copy(artefact_path, tmp_path):
    return shutil.copytree(artefact_path, tmp_path / "copy")


def edit_manifest(folder, **changes):
    """Change the manifest as an old or malicious writer could have, checksum included."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text()) | changes
    manifest.pop("sha256")
    file.write_text(json.dumps(manifest | {"sha256": digest(manifest)}))


def test_functions_agree_with_the_trained_model(artefact, trained):
    model, params = trained
    tokens = np.random.default_rng(1).integers(257, size=(3, 20), dtype=np.int32)
    right = jax.jit(model.apply)(params, {"tokens": tokens})["logits"]
    here = jax.jit(artefact.functions["score"])(artefact.weights, {"tokens": tokens})["logits"]
    np.testing.assert_allclose(here, right, atol=1e-5 * float(np.abs(right).max()))


def test_loads_and_generates_without_models_or_layer_library(artefact_path, engine, ask, gather):
    [pieces] = gather(engine, [ask("hello", 12)])
    out = subprocess.run([sys.executable, "-W", "error", "-c", ALONE, artefact_path], timeout=120,
                         capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == ascii("".join(piece.text for piece in pieces))


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(ArtefactError, match=name):
        load_artefact(copy)


@pytest.mark.parametrize("name", FILES)
def test_truncated_file_is_named(copy, name):
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[:len(data) // 2])
    with pytest.raises(ArtefactError, match=name):
        load_artefact(copy)


@pytest.mark.parametrize("name", FILES)
def test_flipped_bit_is_named(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(ArtefactError, match=name):
        load_artefact(copy)


def test_folder_that_is_no_artefact_says_how_to_make_one(tmp_path):
    with pytest.raises(ArtefactError, match="ssljax export RUN --output DIR"):
        load_artefact(tmp_path / "nothing")


def test_unknown_format_is_refused(copy):
    edit_manifest(copy, format=99)
    with pytest.raises(ArtefactError, match=r"format 99; this ssljax reads \[1\]"):
        load_artefact(copy)


def test_manifest_cannot_reach_outside_the_folder(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    edit_manifest(copy, files=manifest["files"] | {"../secret": {"bytes": 1, "sha256": ""}})
    with pytest.raises(ArtefactError, match="not a plain file name"):
        load_artefact(copy)


def test_manifest_cannot_name_code_to_import(copy):
    edit_manifest(copy, tokenizer={"name": "os.path", "fingerprint": ""})
    with pytest.raises(ArtefactError, match='"os.path" is not one of ssljax'):
        load_artefact(copy)


def test_program_that_this_jax_cannot_read_says_to_export_again(copy):
    data = b"\0" * 1000
    (copy / "score.jaxexp").write_bytes(data)
    manifest = json.loads((copy / "manifest.json").read_text())
    entry = {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    edit_manifest(copy, files=manifest["files"] | {"score.jaxexp": entry})
    with pytest.raises(ArtefactError, match="cannot read this program.*export the run again"):
        load_artefact(copy)


def test_weights_of_another_run_fail_the_golden_check(copy):
    weights = load_file(copy / "weights.safetensors")
    save_file({name: leaf * 1.01 for name, leaf in weights.items()}, copy / "weights.safetensors")
    data = (copy / "weights.safetensors").read_bytes()
    manifest = json.loads((copy / "manifest.json").read_text())
    entry = {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    edit_manifest(copy, files=manifest["files"] | {"weights.safetensors": entry})
    with pytest.raises(ArtefactError, match="golden.npz: logits computed here differs"):
        load_artefact(copy)


def test_tokenizer_of_another_run_is_refused(copy):
    edit_manifest(copy, tokenizer={"name": "bpe", "file": "tokenizer.json",
                                   "fingerprint": "0" * 64})
    with pytest.raises(ArtefactError, match="the model was trained with 000000000000"):
        load_artefact(copy)
