"""An artefact loads where the models are not, and never when a byte of it is wrong."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load, save

from ssljax.core.errors import ArtefactError
from ssljax.export.artefact import digest
from ssljax.serve.artefact import ProgramError, load_artefact

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


def put(folder, name, data, **changes):
    """Write a file and list it in the manifest as a malicious writer would."""
    (folder / name).write_bytes(data)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    entry = {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    edit_manifest(folder, files=files | {name: entry}, **changes)


def test_functions_agree_with_the_trained_model(artefact, trained):
    model, params = trained
    tokens = np.random.default_rng(1).integers(257, size=(3, 20), dtype=np.int32)
    right = jax.jit(model.apply)(params, {"tokens": tokens})
    for name, output in (("score", "logits"), ("sequence", "sequence")):
        here = jax.jit(artefact.functions[name])(artefact.weights, {"tokens": tokens})[output]
        np.testing.assert_allclose(here, right[output],
                                   atol=1e-5 * float(np.abs(right[output]).max()))


def test_loads_and_generates_without_models_or_layer_library(artefact_path, engine, ask, gather):
    [pieces] = gather(engine, [ask("hello", 12)])
    out = subprocess.run([sys.executable, "-W", "error", "-c", ALONE, artefact_path], timeout=120,
                         capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == ascii("".join(piece.text for piece in pieces))


def test_any_file_that_is_missing_cut_longer_or_flipped_is_named(artefact_path, copy):
    names = {path.name for path in artefact_path.iterdir()}
    assert {"manifest.json", "model.safetensors", "golden.safetensors", "tokenizer.json",
            "score.jaxexp", "embed.jaxexp", "sequence.jaxexp"} <= names
    for name in sorted(names):
        data = (artefact_path / name).read_bytes()
        middle = len(data) // 2
        flips = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
                 for at in (0, middle, len(data) - 2)]
        for bad in (None, b"", data[:middle], data + b"\n{}", *flips):
            (copy / name).unlink()
            if bad is not None:
                (copy / name).write_bytes(bad)
            with pytest.raises(ArtefactError, match=name):
                load_artefact(copy)
            (copy / name).write_bytes(data)


def test_folder_that_is_no_artefact_says_how_to_make_one(tmp_path):
    with pytest.raises(ArtefactError, match="ssljax export RUN --output DIR"):
        load_artefact(tmp_path / "nothing")


def test_unknown_abi_is_refused(copy):
    edit_manifest(copy, abi=99)
    with pytest.raises(ArtefactError, match=r"ABI 99; this ssljax reads \[2\]"):
        load_artefact(copy)


@pytest.mark.parametrize("text", [
    "[]", "null", '"x"', "{", "[" * 100_000, '{"abi": 2}', '{"a": 1e999}', "\xff"])
def test_manifest_of_any_other_shape_is_named(copy, text):
    (copy / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtefactError, match="manifest.json"):
        load_artefact(copy)


@pytest.mark.parametrize("changes", [
    {"files": []}, {"files": {"x": 1}}, {"files": {"x": {"bytes": 1}}}, {"functions": {"f": 3}},
    {"functions": {"f": {}}}, {"golden": None}, {"jax": "0.1"}, {"weights": {}},
    {"weights": {"files": "x"}}, {"golden": "absent.safetensors"}, {"tokenizer": 3},
    {"tokenizer": {"name": "bpe", "file": "absent.json", "fingerprint": "0"}},
    {"functions": {"f": {"inputs": {}, "file": "absent.jaxexp"}}}])
def test_manifest_that_lies_consistently_is_named(copy, changes):
    edit_manifest(copy, **changes)
    with pytest.raises(ArtefactError, match="manifest.json"):
        load_artefact(copy)


def test_manifest_beyond_any_size_is_not_parsed(copy):
    (copy / "manifest.json").write_bytes(b" " * (2**24 + 1))
    with pytest.raises(ArtefactError, match="more than 16777216 bytes"):
        load_artefact(copy)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", "", ".", "a\\b", "a\0"])
def test_manifest_cannot_reach_outside_the_folder(copy, name):
    manifest = json.loads((copy / "manifest.json").read_text())
    edit_manifest(copy, files=manifest["files"] | {name: {"bytes": 1, "sha256": ""}})
    with pytest.raises(ArtefactError, match="not a plain file name|no regular file"):
        load_artefact(copy)


def test_pipe_in_the_place_of_a_file_is_not_waited_for(copy):
    (copy / "score.jaxexp").unlink()
    os.mkfifo(copy / "score.jaxexp")
    with pytest.raises(ArtefactError, match="score.jaxexp is no regular file"):
        load_artefact(copy)


class Bomb:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["x.pkl", "x.npz", "x.safetensors", "x.jaxexp", "x.json"])
def test_nothing_is_ever_unpickled(copy, tmp_path, name):
    trace, data = tmp_path / "exploded", io.BytesIO()
    objects = np.array([Bomb(trace)], object)
    if name == "x.npz":
        np.savez(data, x=objects)
    else:
        pickle.dump(Bomb(trace), data)
    original = (copy / "manifest.json").read_bytes()
    manifest = json.loads(original)
    functions = {"score": manifest["functions"]["score"] | {"file": name}}
    for change in ({"golden": name}, {"weights": {"files": [name]}}, {"functions": functions},
                   {"tokenizer": {"name": "bpe", "file": name, "fingerprint": "0" * 64}}):
        (copy / "manifest.json").write_bytes(original)
        put(copy, name, data.getvalue(), **change)
        with pytest.raises(ArtefactError, match="x[.]"):
            load_artefact(copy)
        assert not trace.exists()


def test_manifest_cannot_name_code_to_import(copy):
    edit_manifest(copy, functions={}, tokenizer={"name": "os.path", "fingerprint": ""})
    with pytest.raises(ArtefactError, match='"os.path" is not one of ssljax'):
        load_artefact(copy)


def test_program_that_this_jax_cannot_read_says_what_to_do(copy):
    put(copy, "score.jaxexp", b"\0" * 1000)
    with pytest.raises(ProgramError, match="score.jaxexp.*cannot run.*export --relower"):
        load_artefact(copy)


def test_program_of_other_arguments_is_one_clear_message(copy):
    put(copy, "score.jaxexp", (copy / "decode.jaxexp").read_bytes())
    with pytest.raises(ProgramError, match="score.jaxexp.*cannot run.*export --relower"):
        load_artefact(copy)


def test_relowered_programs_take_the_place_of_those_that_cannot_be_read(copy, artefact):
    programs = {path.stem: path.read_bytes() for path in copy.glob("*.jaxexp")}
    put(copy, "embed.jaxexp", b"\0" * 1000)
    seen = []
    loaded = load_artefact(copy, relower=lambda path, manifest: seen.append(path) or programs)
    assert seen == [copy]
    tokens = np.arange(6, dtype=np.int32)[None]
    given = {"tokens": tokens, "last": np.array([5], np.int32)}
    np.testing.assert_array_equal(
        jax.jit(loaded.functions["embed"])(loaded.weights, given)["pooled"],
        jax.jit(artefact.functions["embed"])(artefact.weights, given)["pooled"])


@pytest.mark.parametrize("name", ["score", "embed", "sequence", "prefill", "decode"])
def test_golden_answers_of_every_function_are_checked(copy, name):
    golden = load((copy / "golden.safetensors").read_bytes())
    key = next(k for k in golden if k.startswith(f"{name}/outputs/") and k.endswith("/entries"))
    golden[key][3] += 10.0
    manifest = json.loads((copy / "manifest.json").read_text())
    put(copy, "golden.safetensors", save(golden),
        functions={name: manifest["functions"][name]})      # the others need not compile here
    with pytest.raises(ArtefactError, match=f"golden.safetensors: {name}/outputs/.*differs by"):
        load_artefact(copy)


def test_weights_of_another_run_fail_the_golden_check(copy):
    weights = load((copy / "model.safetensors").read_bytes())
    put(copy, "model.safetensors", save({name: leaf * 1.01 for name, leaf in weights.items()}))
    with pytest.raises(ArtefactError, match="golden.safetensors: score/outputs/logits.*differs"):
        load_artefact(copy)


def test_array_in_two_files_is_refused(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    put(copy, "more.safetensors", save({"params/embedding": np.zeros(3, np.float32)}),
        weights={"files": [*manifest["weights"]["files"], "more.safetensors"]})
    with pytest.raises(ArtefactError, match="more.safetensors holds params/embedding a second"):
        load_artefact(copy)


def test_names_of_weights_that_contradict_each_other_are_refused(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    put(copy, "more.safetensors", save({"params/embedding/x": np.zeros(3, np.float32)}),
        weights={"files": [*manifest["weights"]["files"], "more.safetensors"]})
    with pytest.raises(ArtefactError, match="contradict each other"):
        load_artefact(copy)


def test_weights_are_placed_one_array_at_a_time(artefact_path):
    placed = []

    def place(name, array):
        placed.append(name)
        return jax.device_put(array)

    loaded = load_artefact(artefact_path, place=place)
    assert sorted(placed) == sorted(load((artefact_path / "model.safetensors").read_bytes()))
    assert loaded.weights["params"]["embedding"].shape == (264, 32)


def test_tokenizer_of_another_run_is_refused(copy):
    edit_manifest(copy, functions={}, tokenizer={"name": "bpe", "file": "tokenizer.json",
                                                 "fingerprint": "0" * 64})
    with pytest.raises(ArtefactError, match="the model was trained with 000000000000"):
        load_artefact(copy)
