"""The digits experiments: valid configs, and a method that really beats its controls."""

import json
import os
import subprocess
import sys

import pytest

from ssljax.core.errors import ConfigError
from ssljax.runs.build import build_method
from ssljax.runs.config import check_run, load_config, to_plain

FILES = ["experiments/vision/simclr_digits.py", "experiments/vision/mae_digits.py"]
KEYS = {"seed", "mesh", "batch_size", "total_steps", "compute_dtype", "accumulate", "source",
        "pretext", "model", "objective", "optim", "schedule", "log_steps", "checkpoint_steps",
        "keep_checkpoints", "evals"}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("arg", ["", ":smoke"])
def test_config_is_a_valid_run(file, arg):
    plain = to_plain(load_config(file + arg))
    check_run(plain)
    assert set(plain) == KEYS
    assert json.loads(json.dumps(plain)) == plain
    build_method(plain)


def test_one_override_of_the_patch_size_reaches_pretext_networks_and_objective():
    plain = to_plain(load_config(FILES[1], ["--config.pretext.patch_size=2"]))
    objective = plain["objective"]
    assert plain["model"]["patch_size"] == objective["patch_size"] == 2
    assert objective["decoder"]["patch_size"] == 2


def test_a_misspelt_option_is_refused_by_name():
    plain = to_plain(load_config(FILES[0]))
    plain["objective"]["temprature"] = plain["objective"].pop("temperature")
    with pytest.raises(ConfigError, match='did you mean "temperature"'):
        check_run(plain)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_the_whole_run_beats_a_random_network_and_nears_raw_pixels(file, tmp_path):
    """As a user runs it: the test suite's compiler flags would make minutes of it many."""
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    verbs = [["pretrain", "--config", file, "--workdir", str(tmp_path / "run")],
             ["evaluate", str(tmp_path / "run")]]
    for verb in verbs:
        subprocess.run([sys.executable, "-m", "ssljax.cli.main", *verb], check=True,
                       env=environment, timeout=900)
    stored = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    judged = stored["steps"][str(stored["latest"])]["evals"]
    for name in ("knn", "linear"):
        trained, control = (judged[name][key] for key in (name, f"{name}_random_init"))
        assert trained["low"] > control["high"], (trained, control)
        assert trained["value"] > judged[name][f"{name}_raw_pixels"]["value"] - 0.03
