"""`ssljax export --target`: a trained run in the form of another library."""

import json

import numpy as np
import pytest

from ssljax.cli.main import main
from ssljax.core.errors import ArtefactError
from ssljax.export.hugging_face.folder import read_folder
from ssljax.runs.export import export_run, host_weights
from ssljax.runs.restore import load_run
from ssljax.tokenizers import bpe


def test_a_run_is_written_for_transformers(exported, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["export", str(exported.run), "--output", str(out), "--target", "hf"]) == 0
    assert "AutoModelForCausalLM" in capsys.readouterr().out
    folder = read_folder(out)
    assert (folder.config["model_type"], folder.config["max_position_embeddings"]) == ("llama", 64)
    trained = host_weights(load_run(exported.run))["params"]["embedding"]
    np.testing.assert_array_equal(folder.tensors["embed_tokens.weight"], trained)
    tokenizer = bpe.make(path=str(out / "tokenizer.json"))
    assert folder.config["bos_token_id"] == tokenizer.end_of_text
    noted = json.loads((out / "ssljax_export.json").read_text())
    assert (noted["target"], noted["lineage"]["step"]) == ("hf", 2)


def test_only_artefacts_are_signed(exported, tmp_path):
    with pytest.raises(ArtefactError, match="target hf is none"):
        export_run(exported.run, tmp_path / "out", target="hf", key=tmp_path / "key.pem")
