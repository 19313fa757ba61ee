"""Methods that were broken collapse, and the alarm says so within 200 steps; whole ones do not."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def rows(tmp_path, *names):
    """Run the tool as a user does: the test suite's compiler flags would make minutes of it."""
    out = tmp_path / "rows.json"
    subprocess.run([sys.executable, "tools/gates/alarm.py", "--only", ",".join(names),
                    "--seeds", "1", "--out", str(out)], check=True, cwd=ROOT, timeout=1800,
                   env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "",
                        "PYTHONPATH": str(ROOT)})
    return {row["run"]: row for row in json.loads(out.read_text())}


@pytest.mark.slow
def test_broken_methods_are_noticed_within_200_steps(tmp_path):
    expected = {"simsiam_no_stop_gradient": {"embedding_std", "projection_std"},
                "byol_no_predictor": {"target_std", "loss"}, "vicreg_no_variance": {"loss"},
                "dino_no_centring": {"teacher_kl_uniform"},
                "swav_dead_codebook": {"prototype_kl_uniform"}}
    for name, row in rows(tmp_path, *expected).items():
        assert row["fired_at"] <= 200, name
        assert row["by"] in expected[name]
        assert row["by"] in row["message"]


@pytest.mark.slow
def test_whole_methods_are_left_alone(tmp_path):
    found = rows(tmp_path, "simclr", "byol", "dino", "swav")
    assert {name: row["fired_at"] for name, row in found.items()} == dict.fromkeys(found)
