"""Export to SavedModel, in an environment that has TensorFlow (1.9 GB): `make tensorflow-env`."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = ROOT / ".tensorflow-env/bin/python"

SCRIPT = """
import json, pathlib, sys
import jax, numpy as np
from ssljax.core.errors import ArtefactError
from ssljax.export import saved_model
from ssljax.export.contents import Text, decoder_contents, encoder_contents
from ssljax.models import gpt, vit
from ssljax.tokenizers import byte

place = pathlib.Path(sys.argv[1])
about = {"name": "tiny", "lineage": {"run": "r"}}
documents = lambda about: {"config.json": b"{}", "README.md": b"# tiny"}

def weights(model, inputs):
    return {"params": jax.tree.map(np.asarray, model.init(jax.random.key(0), inputs)[0])}

tiny = {"vocab_size": 264, "width": 16, "depth": 2, "num_heads": 2}
model = gpt.make(**tiny)
text = Text(byte.definition().encode(), byte.make(), 32)
decoder = decoder_contents(model, weights(model, {"tokens": np.zeros((1, 2), np.int32)}), about,
                           text, documents)
print(json.dumps(saved_model.write(place / "decoder", decoder)))

model = vit.make(**vit.TINY)
params = weights(model, {"image": np.zeros((1, 8, 8, 1), np.float32)})
params["head"] = {"w": np.ones((16, 3), np.float32), "b": np.zeros(3, np.float32)}
encoder = encoder_contents(model, params, about, image=(8, 8, 1), preprocessing={"image": []},
                           documents=documents)
print(json.dumps(saved_model.write(place / "encoder", encoder)))

# What TensorFlow answers is compared with what the weights at hand say: others are found out.
other = encoder._replace(weights=jax.tree.map(lambda x: x + 0.1, encoder.weights))
try:
    saved_model.verify(place / "encoder", {"embed": encoder.programs["embed"]}, other)
except ArtefactError as err:
    print("refused:", err)
"""


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="no .tensorflow-env: run `make tensorflow-env`")
def test_tensorflow_answers_as_jax_does_for_any_number_of_rows(tmp_path):
    done = subprocess.run([PYTHON, "-c", SCRIPT, tmp_path], cwd=ROOT, capture_output=True,
                          text=True)
    assert not done.returncode, done.stderr[-2000:]
    lines = done.stdout.strip().splitlines()
    assert '"score"' in lines[0] and '"embed"' in lines[0]
    assert "prefill" not in lines[0]
    assert '"classify"' in lines[1]
    assert lines[2].startswith("refused: embed in TensorFlow differs by")
    assert (tmp_path / "decoder/saved_model.pb").is_file()
    assert "error_in_tensorflow" in (tmp_path / "encoder/ssljax_export.json").read_text()
