"""Images from a run, end to end: train, draw through the command line, judge by an encoder."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from ssljax.cli.main import main
from ssljax.runs.evaluate import evaluate
from ssljax.runs.generate_images import generate_images, grid
from ssljax.runs.pretrain import pretrain
from tests.contracts.cases import config_of

DIGITS = {"name": "digits", "split": "train"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generate") / "run"
    judgement = {"name": "feature_distance", "source": {**DIGITS, "split": "test"}, "images": 20,
                 "encoder_run": str(folder), "options": {"temperature": 0.9}}
    pretrain({**config_of("image_gpt"), "mesh": {"data": -1}, "source": DIGITS, "accumulate": 1,
              "compute_dtype": "float32", "total_steps": 2, "log_steps": 1,
              "checkpoint_steps": 2, "keep_checkpoints": 1,
              "evals": {"distance": judgement,
                        "task": {"name": "held_out", "source": {**DIGITS, "split": "test"},
                                 "batch_size": 32, "records": 64}}}, folder)
    return folder


def test_the_command_line_writes_a_grid(run, tmp_path, capsys):
    out = tmp_path / "some" / "grid.png"
    assert main(["generate", str(run), "--n", "5", "--out", str(out), "--seed", "3"]) == 0
    assert "5 images of 8 by 8 pixels" in capsys.readouterr().out
    picture = np.asarray(Image.open(out))
    assert picture.shape == (2 * 66 + 2, 3 * 66 + 2)              # eight-fold, with gaps
    images = generate_images(run, 5, seed=3)
    assert images.shape == (5, 8, 8, 1)
    assert np.array_equal(picture, grid(images)[..., 0])
    assert set(np.unique(images)) <= {0, 85, 170, 255}            # four grey levels
    assert not np.array_equal(images, generate_images(run, 5, seed=4))


def test_an_image_depends_on_its_place_and_not_on_how_many_follow(run):
    seen = []
    many = generate_images(run, 10, batch_size=4, progress=seen.append)
    assert seen == [4, 8, 10]
    assert np.array_equal(many[:4], generate_images(run, 4, batch_size=4))


@pytest.mark.parametrize("arguments, message", [
    (["--prompt", "def"], "is a run, which generates images"),
    (["--out", "grid.jpg"], "ends in .png"),
    (["--guidance", "2"], 'no option "guidance"; known: temperature'),
    (["--n", "0"], "expected one or more"),
    (["--checkpoint", "7"], "7"),
])
def test_what_cannot_be_drawn_is_one_line(run, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", str(run), *arguments]) != 0
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("ssljax generate: ")
    assert message in err
    assert not list(tmp_path.iterdir())


def test_options_of_images_are_refused_for_text(tmp_path, capsys):
    assert main(["generate", str(tmp_path), "--steps", "3", "--prompt", "x"]) == 2
    assert "Leave --steps out" in capsys.readouterr().err
    assert main(["generate", str(tmp_path)]) == 2
    assert "add --prompt" in capsys.readouterr().err


def test_judgements_of_what_was_drawn_and_of_the_task(run):
    judged = evaluate(run)["evals"]
    distance = {name: figure["value"] for name, figure in judged["distance"].items()}
    # Two steps teach nothing: pixels are nearly uniform, far from digits as noise is.
    assert 0 < distance["feature_distance_real"] < distance["feature_distance"]
    assert 0 < distance["feature_distance_real"] < distance["feature_distance_noise"]
    assert 0.5 < judged["task"]["held_out_bits_per_dimension"]["value"] < 4
    stored = json.loads((run / "evaluation.json").read_text())
    assert stored["steps"]["2"]["evals"] == judged


def test_an_encoder_that_is_no_run_is_named(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    from ssljax.core.errors import CheckpointError
    from ssljax.runs.evaluators import load_encoder
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(CheckpointError, match="has no checkpoints"):
        load_encoder(str(copy))


def test_a_decoder_of_pixels_is_exported_as_an_encoder(run, tmp_path):
    from ssljax.runs.export import export_run
    summary = export_run(run, tmp_path / "artefact")
    assert summary["kind"] == "encoder"
    assert list(summary["functions"]) == ["embed", "sequence"]
