"""The training benchmarks run, at their smallest, and report what they promise."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
KEYS = {"case", "metric", "unit", "ours", "peer", "peer_name", "ratio"}


def report(tmp_path, script, *arguments):
    path = tmp_path / "report.json"
    subprocess.run([sys.executable, str(ROOT / "tools/bench" / script), "--json", str(path),
                    *arguments], check=True, cwd=ROOT,
                   env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""})
    found = json.loads(path.read_text())
    assert all(set(row) >= KEYS and (row["ratio"] is not None or row["why"])
               for row in found["rows"])
    return {(row["metric"], row["peer_name"]): row for row in found["rows"]}


@pytest.mark.slow
def test_training_on_a_cpu_is_raced_against_plain_jax(tmp_path):
    rows = report(tmp_path, "train_cpu.py", "--smoke", "--rounds", "1", "--steps", "1", "--dtypes",
                  "float32", "--only", "step,trainer,bare,matmul")
    assert rows["train step", "60 lines of JAX"]["ratio"] > 0
    assert rows["whole trainer", "our step alone"]["ratio"] > 0


@pytest.mark.slow
def test_training_on_a_gpu_is_rehearsed_on_a_cpu(tmp_path):
    rows = report(tmp_path, "train_gpu.py", "--smoke")
    assert all(row["ours"] for row in rows.values())


@pytest.mark.slow
def test_a_save_and_a_restore_are_timed(tmp_path):
    rows = report(tmp_path, "checkpoint.py", "--sizes", "tiny", "--repeats", "1")
    assert rows["blocking of a save", "Orbax, waiting"]["ratio"] > 0


@pytest.mark.slow
def test_the_share_of_augmentation_is_told(tmp_path):
    rows = report(tmp_path, "augment.py", "--smoke", "--rounds", "1", "--steps", "1", "--dtype",
                  "float32")
    assert rows["share of augmentation", None]["ours"] < 100


@pytest.mark.slow
def test_decoding_is_timed_by_workers(tmp_path):
    rows = report(tmp_path, "input.py", "--decode", "0,1", "--images", "40", "--side", "64",
                  "--batches", "2", "--batch-size", "8")
    assert rows["throughput", None]["ours"] > 0
