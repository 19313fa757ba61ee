"""Models in Hugging Face's form: the answers of transformers, and what is refused by name."""

import json
import pathlib
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import pytest

from ssljax.core.config import resolve
from ssljax.core.errors import ArtefactError
from ssljax.export.hugging_face.folder import find_folder, params_of, read_folder
from ssljax.export.hugging_face.vit import preparation
from ssljax.runs.import_model import image_shape, read_weights

HERE = pathlib.Path(__file__).parent
PEERS = HERE.parents[2] / ".bench-env/bin/python"
sys.path.insert(0, str(HERE))
import folders  # noqa: E402  beside this file, so that transformers' side can read it too

sys.path.remove(str(HERE))
GOLDEN = json.loads((HERE / "golden.json").read_text())
KINDS = tuple(folders.CONFIGS)


def loaded(path):
    folder = read_folder(path)
    model = resolve("models", folder.spec)
    return folder, model, read_weights(folder, model)


def answers(path):
    """Return logits of tokens, or of classes, as transformers' models with a head give them."""
    folder, model, weights = loaded(path)
    given = folders.inputs(folder.config["model_type"])
    name = "image" if given.dtype == np.float32 else "tokens"
    out = jax.jit(model.apply)(weights["params"], {name: given})
    if name == "tokens":
        return np.asarray(out["logits"])
    return np.asarray(out["pooled"] @ weights["head"]["w"] + weights["head"]["b"])


@pytest.mark.parametrize("kind", KINDS)
def test_an_imported_model_answers_as_in_transformers(kind, tmp_path):
    found, golden = answers(folders.write(tmp_path, kind)), GOLDEN[kind]
    if kind == "vit":
        np.testing.assert_allclose(found, golden["logits"], atol=2e-5)
        return
    np.testing.assert_allclose(found[:, -1, :6], golden["last"], atol=2e-5)
    np.testing.assert_allclose(np.logaddexp.reduce(found, -1)[:, ::2], golden["logsumexp"],
                               atol=2e-5)


@pytest.mark.slow
@pytest.mark.skipif(not PEERS.exists(), reason="no .bench-env: run `make bench-env`")
@pytest.mark.parametrize("kind", KINDS)
def test_an_imported_model_answers_as_in_transformers_now(kind, tmp_path):
    path = folders.write(tmp_path / "model", kind)
    given, right = tmp_path / "given.npy", tmp_path / "right.npy"
    np.save(given, folders.inputs(kind))
    subprocess.run([PEERS, HERE / "reference.py", path, given, right], check=True)
    np.testing.assert_allclose(answers(path), np.load(right), atol=2e-5)


def test_files_in_parts_and_of_sixteen_bits_are_read(tmp_path):
    half = {name: t.astype(ml_dtypes.bfloat16) for name, t in folders.tensors("gpt2").items()}
    names = sorted(half)
    placed = {}
    for number, part in enumerate((names[:5], names[5:])):
        folders.write(tmp_path, "gpt2", weights={name: half[name] for name in part})
        file = f"model-0000{number + 1}-of-00002.safetensors"
        (tmp_path / "model.safetensors").rename(tmp_path / file)
        placed |= dict.fromkeys(part, file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    _, _, weights = loaded(tmp_path)
    table = weights["params"]["embedding"]
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, half["transformer.wte.weight"].astype(np.float32))


def test_the_base_model_alone_reads_as_the_one_with_a_head(tmp_path):
    bare = {name.removeprefix("transformer."): t for name, t in folders.tensors("gpt2").items()}
    old = {**bare, "h.0.attn.bias": np.ones((1, 1, 32, 32), np.float32)}     # a mask, in old files
    one, other = (loaded(folders.write(tmp_path / name, "gpt2", weights=weights))[2]
                  for name, weights in (("one", None), ("other", old)))
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(("kind", "config", "message"), [
    ("gpt2", {"model_type": "mamba"}, 'model_type "mamba"; ssljax imports'),
    ("gpt2", {"activation_function": "relu"}, "activation_function = 'relu'"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
    ("gpt2", {"n_embd": 12}, r"has shape \(264, 8\); config.json makes it \(264, 12\)"),
    ("gpt2", {"n_layer": 3}, "weights have no h.2."),
    ("gpt2", {"n_layer": 1}, "reads the tensor h.1."),
    ("llama", {"rope_parameters": {"rope_type": "llama3"}}, "rope_type = 'llama3'"),
    ("llama", {"head_dim": 16}, "head_dim = 16"),
    ("llama", {"mlp_bias": True}, "mlp_bias = True"),
    ("vit", {"qkv_bias": False}, "qkv_bias = False"),
])
def test_what_ours_does_not_compute_is_refused_by_name(kind, config, message, tmp_path):
    with pytest.raises(ArtefactError, match=message):
        loaded(folders.write(tmp_path, kind, config=config))


def test_a_tensor_that_nothing_reads_is_refused(tmp_path):
    more = folders.tensors("gpt2") | {"transformer.h.0.adapter.weight": np.ones(3, np.float32)}
    with pytest.raises(ArtefactError, match="reads the tensor h.0.adapter.weight"):
        loaded(folders.write(tmp_path, "gpt2", weights=more))


def test_damaged_folders_say_which_file(tmp_path):
    with pytest.raises(ArtefactError, match=r"config\.json cannot be read"):
        read_folder(tmp_path)
    folders.write(tmp_path, "gpt2")
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ArtefactError, match=r"model\.safetensors cannot be read"):
        read_folder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ArtefactError, match=r"pytorch_model\.bin is pickled and is not read"):
        read_folder(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(ArtefactError, match="not a plain file name"):
        read_folder(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ArtefactError, match="holds no JSON object"):
        read_folder(tmp_path)


def test_a_name_of_the_hub_is_fetched_at_its_revision(tmp_path, monkeypatch):
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert find_folder("some-one/gpt2@v1") == tmp_path
    assert (asked["name"], asked["revision"]) == ("some-one/gpt2", "v1")
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])
    with pytest.raises(ArtefactError, match="neither a folder nor a name"):
        find_folder("no/such/folder")


def test_a_hub_that_cannot_be_reached_is_said(monkeypatch):
    def snapshot_download(name, **options):
        raise ConnectionError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(ArtefactError, match="hub does not give it: offline"):
        find_folder("some-one/gpt2")


def test_a_preprocessor_becomes_operations(tmp_path):
    folder = read_folder(folders.write(tmp_path, "vit"))
    steps = preparation({"size": 8, "resample": 3, "image_mean": [0.1, 0.2, 0.3],
                         "image_std": [1, 1, 1]}, folder.spec)
    assert [s["name"] for s in steps] == ["read_image", "stretch", "standardise"]
    assert steps[1] == {"name": "stretch", "size": 8, "filter": "bicubic"}
    assert image_shape(folder) == (8, 8, 3)
    for told, message in (({"size": {"shortest_edge": 8}}, "size = "),
                          ({"resample": 9}, "resample = 9"),
                          ({"do_normalize": False}, "do_normalize = False")):
        with pytest.raises(ArtefactError, match=message):
            preparation(told, folder.spec)


def test_params_have_the_order_of_the_network(tmp_path):
    """Programs take weights by position of the leaf, so the trees must be one."""
    folder, model, weights = loaded(folders.write(tmp_path, "gpt2"))
    shapes, _ = jax.eval_shape(lambda: model.init(
        jax.random.key(0), {"tokens": np.zeros((1, 2), np.int32)}))
    again = params_of(folder, shapes)
    assert jax.tree.structure(again) == jax.tree.structure(shapes)
    assert jax.tree.structure(weights["params"]) == jax.tree.structure(shapes)
