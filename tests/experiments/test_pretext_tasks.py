"""The runs of pretext tasks and of methods that generate: valid, and consistent in themselves."""

import json

import jax
import pytest

from experiments.vision.base import SIZES
from ssljax.runs.build import build_method
from ssljax.runs.config import check_run, load_config, to_plain

METHODS = ("rotation", "relative_location", "jigsaw", "flow_matching", "image_gpt")


def plain(method: str, size: str, *overrides: str) -> dict:
    return to_plain(load_config(f"experiments/vision/{method}.py:{size}",
                                ["--config.data.path=/data", *overrides]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", SIZES)
def test_config_is_a_valid_run_whose_parts_fit(method, size):
    config = plain(method, size)
    check_run(config)
    assert json.loads(json.dumps(config)) == config
    assert config["objective"]["name"] == method
    assert config["batch_size"] <= 256
    built = build_method({**config, "batch_size": 2})
    shapes = jax.eval_shape(built.init, built.key)          # networks take what pretexts give
    assert shapes.params


@pytest.mark.parametrize("method", METHODS)
def test_the_task_is_judged_on_test_images(method):
    spec = plain(method, "cpu", "--config.data.test_path=/test")["evals"]["held_out"]
    assert spec["source"]["path"] == "/test"
    assert "held_out" not in plain(method, "")["evals"]


def test_one_word_makes_flow_matching_conditional():
    config = plain("flow_matching", "", "--config.data.classes=7")
    assert [config[part]["num_classes"] for part in ("model", "pretext", "objective")] == [7] * 3


def test_published_learning_rates():
    assert plain("rotation", "imagenet")["optim"]["lr"] == pytest.approx(0.1)
    assert plain("flow_matching", "imagenet")["optim"]["lr"] == pytest.approx(1e-4)
    assert plain("image_gpt", "imagenet")["optim"]["lr"] == pytest.approx(3e-3)
