"""An imported model becomes an artefact that loads, answers and serves as any other."""

import io
import json
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

from ssljax.cli.main import main
from ssljax.core.errors import ArtefactError
from ssljax.media.operations import prepare
from ssljax.runs.import_model import import_model
from ssljax.serve.artefact import load_artefact
from ssljax.tokenizers import byte

HERE = pathlib.Path(__file__).parents[1] / "export/hugging_face"
sys.path.insert(0, str(HERE))
import folders  # noqa: E402  beside the tests of the export layer

sys.path.remove(str(HERE))
GOLDEN = json.loads((HERE / "golden.json").read_text())


def test_a_language_model_answers_from_its_artefact(tmp_path, capsys):
    source = folders.write(tmp_path / "tiny-gpt2", "gpt2")
    (source / "tokenizer.json").write_text(byte.definition())
    assert main(["import", str(source), "--output", str(tmp_path / "artefact")]) == 0
    assert 'as decoder "tiny-gpt2": ' in capsys.readouterr().out
    artefact = load_artefact(tmp_path / "artefact")
    assert artefact.manifest["max_context"] == 32
    assert artefact.manifest["lineage"]["imported_from"] == "tiny-gpt2"
    assert artefact.tokenizer.end_of_text == 256
    tokens = folders.inputs("gpt2")
    logits = artefact.functions["score"](artefact.weights, {"tokens": tokens})["logits"]
    np.testing.assert_allclose(logits[:, -1, :6], GOLDEN["gpt2"]["last"], atol=2e-5)
    card = (tmp_path / "artefact/README.md").read_text()
    assert "Imported from `tiny-gpt2`" in card
    assert "ssljax serve" in card


def test_an_image_classifier_embeds_and_classifies(tmp_path):
    source = folders.write(tmp_path / "vit", "vit")
    done = import_model(str(source), tmp_path / "artefact", name="owls")
    assert (done["name"], done["kind"], done["architecture"]) == ("owls", "encoder", "vit")
    artefact = load_artefact(tmp_path / "artefact")
    image = folders.inputs("vit")
    logits = artefact.functions["classify"](artefact.weights, {"image": image})["logits"]
    np.testing.assert_allclose(logits, GOLDEN["vit"]["logits"], atol=2e-5)
    assert artefact.manifest["functions"]["classify"]["labels"] == ["cat", "dog", "owl"]
    assert artefact.functions["embed"](artefact.weights, {"image": image})["pooled"].shape == (2, 8)
    file = io.BytesIO()
    Image.new("RGB", (20, 10), (255, 0, 127)).save(file, "png")
    pixels = prepare(file.getvalue(), artefact.manifest["preprocessing"]["image"])
    np.testing.assert_allclose(pixels[3, 3], [1, -1, 0], atol=0.01)


@pytest.mark.parametrize(("definition", "message"), [
    (None, r"tokenizer\.json cannot be read"), ("{}", "is not a tokenizer")])
def test_a_language_model_without_a_tokenizer_is_refused(definition, message, tmp_path):
    source = folders.write(tmp_path / "model", "gpt2")
    if definition:
        (source / "tokenizer.json").write_text(definition)
    with pytest.raises(ArtefactError, match=message):
        import_model(str(source), tmp_path / "artefact")
    assert not (tmp_path / "artefact").exists()


def test_a_tokenizer_of_more_ids_than_rows_is_refused(tmp_path):
    tensors = folders.tensors("gpt2")
    tensors["transformer.wte.weight"] = tensors["transformer.wte.weight"][:200]
    source = folders.write(tmp_path / "model", "gpt2", config={"vocab_size": 200}, weights=tensors)
    (source / "tokenizer.json").write_text(byte.definition())
    with pytest.raises(ArtefactError, match="257 ids, the model's table 200 rows"):
        import_model(str(source), tmp_path / "artefact")
