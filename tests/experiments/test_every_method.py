"""Every vision run at every size: valid, and its data said once."""

import json
import pathlib

import pytest

from experiments.vision.base import SIZES
from ssljax.runs.build import build_method
from ssljax.runs.config import check_run, load_config, to_plain

FOLDER = pathlib.Path(__file__).parents[2] / "experiments/vision"
METHODS = sorted(file.stem for file in FOLDER.glob("*.py")
                 if "def get_config" in file.read_text() and not file.stem.endswith("_digits"))


def paths(node: object) -> list[str]:
    """Return every "path" within."""
    if not isinstance(node, dict):
        return []
    own = [node["path"]] if node.get("name") == "images" else []
    return own + [path for value in node.values() for path in paths(value)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", SIZES)
def test_config_is_a_valid_run(method, size):
    config = to_plain(load_config(f"experiments/vision/{method}.py:{size}",
                                  ["--config.data.path=/train"]))
    check_run(config)
    build_method(config)                       # its parts fit each other
    assert json.loads(json.dumps(config)) == config
    assert config["objective"]["name"] == method


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", sorted(set(SIZES) - {"smoke"}))
def test_every_source_of_images_follows_the_two_paths(method, size):
    config = to_plain(load_config(f"experiments/vision/{method}.py:{size}", [
        "--config.data.path=/train", "--config.data.test_path=/test"]))
    assert paths(config["source"]) == ["/train"]
    assert set(paths(config["evals"])) <= {"/train", "/test"}
