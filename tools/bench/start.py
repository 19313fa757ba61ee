"""Seconds from the command to the first step, without and with kept programs.

    python tools/bench/start.py [--json FILE] [--repeats 3]

Runs `ssljax pretrain` on a tiny GPT and made-up token shards, from the shell's point of view: the
clock starts before the process and stops when its first step is in metrics.jsonl. `cold` has an
empty folder of programs, `warm` the one that cold filled (goal: 5 s). The peer is sixty lines of
plain JAX of the same shape, which read no data and write nothing; `imports` is what it and ours
spend before any code of either runs.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from contestant_jax import write_shards
from rounds import Contestant, row, show, write

ROOT = pathlib.Path(__file__).parents[2]
SHAPE = {"vocab_size": 512, "width": 64, "depth": 2, "num_heads": 2, "mlp_dim": 192}
CONFIG = """
import ml_collections

def get_config(arg=""):
    return ml_collections.ConfigDict({config!r})
"""


def write_config(home: pathlib.Path) -> pathlib.Path:
    """Write the experiment of the run."""
    config = {
        "model": {"name": "gpt", **SHAPE}, "objective": {"name": "next_token"},
        "pretext": {"name": "next_token", "seq_len": 64}, "seed": 0, "batch_size": 4,
        "source": {"name": "token_shards", "path": str(home / "data"), "split": "train"},
        "schedule": {"name": "cosine", "warmup_steps": 2}, "total_steps": 3, "mesh": {"data": -1},
        "optim": {"name": "adamw", "lr": 1e-3}, "compute_dtype": "float32", "accumulate": 1,
        "log_steps": 1, "checkpoint_steps": 1000, "keep_checkpoints": 1, "cache": str(home / "c")}
    path = home / "tiny.py"
    path.write_text(CONFIG.format(config=config))
    return path


def first_step(home: pathlib.Path, config: pathlib.Path, workdir: str, programs: str) -> float:
    """Return seconds from the command to its first logged step."""
    metrics = home / workdir / "metrics.jsonl"
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "ssljax.cli.main", "pretrain", "--config", str(config),
         "--workdir", str(home / workdir), "--programs", programs],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True)
    while not (metrics.exists() and '"step"' in metrics.read_text()):
        if process.poll() not in (None, 0):
            sys.exit(process.stderr.read())
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    process.communicate()
    return seconds


def imports(module: str) -> float:
    """Return seconds of a process that imports a module and ends."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})
    return time.perf_counter() - began


def bare() -> float:
    """Return seconds until sixty lines of JAX have taken three steps."""
    spec = {**SHAPE, "seq_len": 64, "batch_size": 4, "dtype": "float32"}
    began = time.perf_counter()
    peer = Contestant("bare", [sys.executable, str(ROOT / "tools/bench/contestant_jax.py"), "bare",
                               json.dumps(spec)])
    peer.prepare()
    seconds = time.perf_counter() - began
    peer.close()
    return seconds


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the rows here too")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    found: dict[str, list[float]] = {n: [] for n in ("cold", "warm", "off", "bare", "ours", "jax")}
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        write_shards(home / "data", SHAPE["vocab_size"], 100_000)
        config = write_config(home)
        for i in range(args.repeats):
            programs = str(home / f"programs-{i}")
            found["cold"].append(first_step(home, config, f"cold-{i}", programs))
            found["warm"].append(first_step(home, config, f"warm-{i}", programs))
            found["off"].append(first_step(home, config, f"off-{i}", "off"))
            found["bare"].append(bare())
            found["ours"].append(imports("ssljax.runs.pretrain"))
            found["jax"].append(imports("jax, optax"))
    middle = {name: statistics.median(seconds) for name, seconds in found.items()}
    rows = [less(f"first step, {name}", middle[name], middle["bare"], "60 lines of JAX, no cache")
            for name in ("cold", "warm", "off")]
    rows.append(less("imports", middle["ours"], middle["jax"], "jax and optax"))
    show(rows)
    write(args.json, "start", {"cores": len(os.sched_getaffinity(0)),
                               "system": platform.platform()}, rows)


def less(case: str, ours: float, peer: float, name: str) -> dict[str, Any]:
    """Return a row where less is better."""
    return {**row(case, "seconds from the command", "s", ours, peer, name), "ratio": peer / ours}


if __name__ == "__main__":
    main()
