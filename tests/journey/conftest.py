"""A small real corpus, curated once by the real verb, and the verbs as a user would run them."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import pytest

from ssljax.core.files import read_json_lines
from tests import compiler_flags

SMOKE = "experiments/gpt/quickstart.py:smoke"


def environment(devices: int = 1) -> dict[str, str]:
    """Return the environment of a child with `devices` fake CPU devices."""
    return {**os.environ, "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": compiler_flags.devices(devices)}


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "ssljax.cli.main", *map(str, arguments)]


def ssljax(*arguments, expect: int = 0, devices: int = 1) -> subprocess.CompletedProcess:
    """Run a verb; fail with its output unless it exits as expected."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300,
                          env=environment(devices))
    assert done.returncode == expect, f"{arguments}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def numbers(workdir: pathlib.Path) -> list[dict[str, float]]:
    """Return what a run logged at each step, but for what a second run may not repeat."""
    def is_time(name: str) -> bool:
        return name in ("seconds", "data_wait", "goodput") or "second" in name

    rows = read_json_lines(workdir / "metrics.jsonl")
    return [{k: v for k, v in row.items() if not is_time(k)} for row in rows]


def overrides(dataset: pathlib.Path, **changes) -> list[str]:
    """Return the overrides that train the smoke experiment on a dataset."""
    vocab_size = json.loads((dataset / "manifest.json").read_text())["vocab_size"]
    values = {"source.path": dataset, "evals.bits_per_byte.source.path": dataset,
              "model.vocab_size": -(-vocab_size // 64) * 64, "log_steps": 1, **changes}
    return [f"--config.{key}={value}" for key, value in values.items()]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> pathlib.Path:
    """Return a folder of real Python files: a few packages of the standard library."""
    folder = tmp_path_factory.mktemp("corpus")
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    for package in ("json", "email", "logging", "importlib", "http", "html", "urllib"):
        for path in sorted((library / package).glob("*.py")):
            target = folder / package / path.name
            target.parent.mkdir(exist_ok=True)
            shutil.copy(path, target)
    return folder


@pytest.fixture(scope="session")
def dataset(corpus, tmp_path_factory) -> pathlib.Path:
    """Return the curated corpus."""
    folder = tmp_path_factory.mktemp("curated") / "data"
    ssljax("curate", "--config", "data_pipelines/text.py", "--input", corpus, "--output", folder,
           "--config.vocab_size=512")
    return folder
