"""What tests of recipes share: their configs, real data, and the count of every row."""

import gzip
import importlib.util
import json
from pathlib import Path

import pytest

from data_pipelines.run import curate
from ssljax.runs.config import load_config, to_plain
from ssljax.sources.manifest import verify

SHARED = Path(__file__).parents[4] / "shared/data"
HOME = Path(importlib.import_module("data_pipelines.recipes").__file__).parent


def find(path):
    if not (SHARED / path).exists():
        pytest.skip(f"../shared/data/{path} is not beside this checkout")
    return SHARED / path


def config_of(name, tmp_path, options=None, **changes):
    """Return a recipe with some of its values and of its steps' options changed."""
    found = to_plain(load_config(str(HOME / f"{name}.py"), []))
    merged = {n: given | (options or {}).get(n, {}) for n, given in found["options"].items()}
    return found | {"options": (options or {}) | merged, "output": str(tmp_path / "out")} | changes


def lines(config):
    content = gzip.decompress(Path(config["output"], "documents.jsonl.gz").read_bytes())
    return [json.loads(line) for line in content.splitlines()]


def run(config, workers=1):
    """Run a recipe; return its manifest and lines once everything is accounted for."""
    manifest = curate(config, workers=workers)
    told = lines(config)
    assert manifest.read == len(told) == manifest.kept + sum(manifest.dropped.values())
    assert len({r["id"] for r in told}) == len(told)
    for reason, count in manifest.dropped.items():
        assert count == sum(r["reason"] == reason and r["step"] is not None for r in told)
    assert sum(s.records for s in manifest.shards) == manifest.kept == sum(
        r["verdict"] == "kept" for r in told)
    for split in ("train", "validation"):
        records = sorted(r["record"] for r in told if r["split"] == split)
        assert records == list(range(manifest.splits[split]["documents"]))
    verify(config["output"], manifest, "checksum")
    return manifest, told


@pytest.fixture
def needs():
    """Return the function from a name to the path of real data; it skips where that is absent."""
    return find


@pytest.fixture
def load():
    """Return the function from a recipe's name and changes to its config."""
    return config_of


@pytest.fixture
def checked():
    """Return the function that runs a recipe and counts every row of it."""
    return run
