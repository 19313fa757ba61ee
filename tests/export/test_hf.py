"""Export to Hugging Face's form: read back to the bit by us, and with equal logits by them."""

import json
import pathlib
import subprocess

import jax
import numpy as np
import pytest

from ssljax.core.errors import ArtefactError
from ssljax.export import hf
from ssljax.export.artefact import Contents
from ssljax.export.golden import Golden
from ssljax.export.hugging_face.folder import params_of, read_folder
from ssljax.models import gpt
from ssljax.tokenizers import byte

ROOT = pathlib.Path(__file__).parents[2]
PEERS = ROOT / ".bench-env/bin/python"
TINY = {"vocab_size": 264, "width": 16, "depth": 2, "num_heads": 2}
LLAMA = {"rope_base": 500.0, "mlp_dim": 24, "norm_epsilon": 1e-5}
GPT2 = {"positions": "learned", "context": 32, "norm": "layer", "mlp": "gelu",
        "attention_bias": True}
SHAPES = {"llama": LLAMA, "llama-biased-untied": {"attention_bias": True, "tied": False},
          "gpt2": GPT2}


def network(options):
    """Return the model and random params in which no bias is 0 and no scale 1."""
    model = gpt.make(**TINY, **options)
    params, _ = model.init(jax.random.key(0), {"tokens": np.zeros((1, 2), np.int32)})
    leaves, tree = jax.tree.flatten(params)
    draw = np.random.default_rng(0)
    return model, jax.tree.unflatten(
        tree, [(leaf + draw.normal(0, 0.2, leaf.shape)).astype(np.float32) for leaf in leaves])


def contents(options, params, **model):
    spec = {"name": "gpt", **TINY, **options, **model}
    about = {"name": "tiny", "kind": "decoder", "lineage": {"run": "r"}, "max_context": 32,
             "end_of_text": 256}
    files = {"config.json": json.dumps({"model": spec}).encode(),
             "tokenizer.json": byte.definition().encode(),
             "README.md": b"# tiny\n\n## How to run it\n\nssljax serve\n"}
    return Contents(about, {}, {"params": params}, Golden({}, {}), files)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_written_reads_back_to_the_bit(shape, tmp_path):
    model, params = network(SHAPES[shape])
    done = hf.write(tmp_path / "out", contents(SHAPES[shape], params))
    assert done["architecture"].lower().startswith(shape.partition("-")[0])
    folder = read_folder(tmp_path / "out")
    again = params_of(folder, jax.eval_shape(lambda: params))
    jax.tree.map(np.testing.assert_array_equal, again, params)
    tokens = np.arange(14, dtype=np.int32).reshape(2, 7)
    other = gpt.make(**{k: v for k, v in folder.spec.items() if k != "name"})
    np.testing.assert_array_equal(other.apply(again, {"tokens": tokens})["logits"],
                                  model.apply(params, {"tokens": tokens})["logits"])
    assert "transformers" in (tmp_path / "out/README.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not PEERS.exists(), reason="no .bench-env: run `make bench-env`")
@pytest.mark.parametrize("shape", SHAPES)
def test_transformers_gives_equal_logits_and_ids(shape, tmp_path):
    model, params = network(SHAPES[shape])
    folder, given, right = tmp_path / "out", tmp_path / "given.npy", tmp_path / "right.npy"
    hf.write(folder, contents(SHAPES[shape], params))
    tokens = np.random.default_rng(0).integers(257, size=(2, 12), dtype=np.int32)
    np.save(given, tokens)
    subprocess.run([PEERS, ROOT / "tests/export/hugging_face/reference.py", folder, given, right],
                   check=True)
    np.testing.assert_allclose(model.apply(params, {"tokens": tokens})["logits"], np.load(right),
                               atol=2e-5)
    found = subprocess.run(
        [PEERS, "-c", "import sys; from transformers import AutoTokenizer as A; "
         "t = A.from_pretrained(sys.argv[1]); print(t(t.bos_token + 'hé')['input_ids'])", folder],
        check=True, capture_output=True, text=True)
    assert json.loads(found.stdout) == [256, *"hé".encode()]


@pytest.mark.parametrize(("options", "message"), [
    ({"name": "vit"}, '"vit" is none'), ({"experts": 4}, "experts = 4"),
    ({"mup_base_width": 8}, "mup_base_width = 8"), ({"norm": "layer"}, "neither Llama"),
    ({**GPT2, "attention_bias": False}, "neither Llama"), ({**GPT2, "tied": False}, "tied = False"),
])
def test_networks_that_they_have_not_are_refused_by_name(options, message, tmp_path):
    _, params = network({})
    with pytest.raises(ArtefactError, match=message):
        hf.write(tmp_path / "out", contents({}, params, **options))
    assert not (tmp_path / "out").exists()


def test_quantised_weights_are_refused(tmp_path):
    _, params = network({})
    table = params["embedding"]
    rounded = {**params, "embedding": {"int8": table.astype(np.int8), "scale": table[0]}}
    with pytest.raises(ArtefactError, match="embedding is quantised or absent"):
        hf.write(tmp_path / "out", contents({}, rounded))


def test_a_folder_of_others_is_left_alone(tmp_path):
    _, params = network({})
    mine = tmp_path / "thesis.txt"
    mine.write_text("all of it")
    with pytest.raises(ArtefactError, match="no folder that `ssljax export --target` wrote"):
        hf.write(tmp_path, contents({}, params))
    assert mine.read_text() == "all of it"
    again = tmp_path / "out"
    assert hf.write(again, contents({}, params)) == hf.write(again, contents({}, params))
