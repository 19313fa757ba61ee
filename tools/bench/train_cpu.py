"""Tokens a second of training a GPT of 12M parameters on a CPU, beside whoever else does it.

    make bench-env && .venv/bin/python tools/bench/train_cpu.py [--json FILE] [--rounds 5]

Ours is measured twice: the train step alone, and the whole trainer (data stream, ledger, metrics,
checkpoints). Beside them, in turns in the same run (tools/bench/rounds.py): sixty lines of plain
JAX, the same network in PyTorch (eager and torch.compile) and transformers' Llama of the same
shape (eager and torch.compile). `fraction of the matrix-product rate` divides the operations of the
model (the formula of ssljax/train/flops.py, causal attention halved) by the rate at which XLA
multiplies 2048 x 2048 matrices here, also measured in turns. Peers run in .bench-env, whose exact
versions are in tools/bench/constraints.txt.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
from collections.abc import Mapping
from typing import Any

from rounds import Contestant, race, row, show, write

HERE = pathlib.Path(__file__).parent
PEERS = HERE.parents[1] / ".bench-env/bin/python"
SHAPE = {"vocab_size": 4096, "width": 384, "depth": 6, "num_heads": 6, "mlp_dim": 1024}
SMOKE = {"vocab_size": 512, "width": 64, "depth": 2, "num_heads": 2, "mlp_dim": 128}
NAMES = {"bare": "60 lines of JAX", "eager": "torch eager", "compile": "torch.compile"}
TORCH = ("eager", "compile", "transformers", "transformers-compile")


def spec_of(dtype: str, *, smoke: bool, steps: int, total: int) -> dict[str, Any]:
    """Return what the contestants of one dtype are told."""
    shape, seq_len, batch_size = (SMOKE, 64, 2) if smoke else (SHAPE, 256, 8)
    config = {
        "model": {"name": "gpt", **shape}, "objective": {"name": "next_token"},
        "pretext": {"name": "next_token", "seq_len": seq_len}, "seq_len": seq_len,
        "schedule": {"name": "cosine", "warmup_steps": 2}, "total_steps": total,
        "optim": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.1, "clip_norm": 1.0},
        "batch_size": batch_size, "seed": 0, "mesh": {"data": -1}, "compute_dtype": dtype,
        "accumulate": 1, "log_steps": 10,
        # Ten steps are longer than a minute's share of most runs: saves are rather over-counted.
        "checkpoint_steps": max(10, steps), "keep_checkpoints": 1}
    return {**shape, "seq_len": seq_len, "batch_size": batch_size, "dtype": dtype, "device": "cpu",
            "config": config, "steps": steps}


def contestants(spec: Mapping[str, Any], kinds: tuple[str, ...]) -> dict[str, Contestant]:
    """Start everyone."""
    told = json.dumps(spec)
    env = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(HERE.parents[1])}
    ours = {kind: Contestant(kind, [sys.executable, str(HERE / "contestant_jax.py"), kind, told],
                             env)
            for kind in ("step", "trainer", "bare", "matmul") if kind in kinds}
    if not PEERS.exists():
        print("No .bench-env: run `make bench-env` for the peers in PyTorch.")
        return ours
    return ours | {kind: Contestant(kind, [str(PEERS), str(HERE / "contestant_torch.py"), kind,
                                           told]) for kind in TORCH if kind in kinds}


def flops_per_token(spec: Mapping[str, Any]) -> float:
    """Return 6 N_blocks + 6 V D + 6 L D depth: train/flops.py's formula, causal."""
    d, f, depth = spec["width"], spec["mlp_dim"], spec["depth"]
    return (6 * depth * (4 * d * d + 3 * d * f) + 6 * spec["vocab_size"] * d
            + 6 * spec["seq_len"] * d * depth)


def paired(spec: Mapping[str, Any], ours: Contestant, peer: Contestant | None) -> tuple:
    """Return tokens a second of both, the medians of their rounds."""
    tokens = spec["batch_size"] * spec["seq_len"]
    rate = lambda one: tokens / one.median() if one and one.median() else None  # noqa: E731
    return rate(ours), rate(peer)


def report(spec: Mapping[str, Any], found: Mapping[str, Contestant]) -> list[dict[str, Any]]:
    """Return the rows of one dtype."""
    case, rows = f"GPT 12M {spec['dtype']}", []
    unit = "tokens/s"
    for kind in ("bare", *TORCH):
        peer = found.get(kind)
        if "step" in found and peer:
            name = NAMES.get(kind, kind)
            rows.append(row(case, "train step", unit, *paired(spec, found["step"], peer), name,
                            peer.why))
    for kind, name in (("bare", "60 lines of JAX"), ("step", "our step alone")):
        if "trainer" in found and kind in found:
            rows.append(row(case, "whole trainer", unit,
                            *paired(spec, found["trainer"], found[kind]), name,
                            found["trainer"].why))
    if "matmul" in found and found["matmul"].median():
        product = found["matmul"].about["flops"] / found["matmul"].median()
        rows.append(row(case, "matrix products", "GFLOP/s", None, product / 1e9, "XLA, 2048 cubed",
                        "what the machine gives"))
        for kind in ("step", "trainer", "bare", *TORCH):
            if kind in found and found[kind].seconds:
                # Round by round: the clock may drift between rounds, less so within one.
                work = flops_per_token(spec) * spec["batch_size"] * spec["seq_len"]
                fraction = statistics.median(
                    work / s / (found["matmul"].about["flops"] / m)
                    for s, m in zip(found[kind].seconds, found["matmul"].seconds, strict=False))
                rows.append(row(case, f"{kind}: of the matrix-product rate", "fraction", fraction,
                                None, "", "a fraction of the peer above"))
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the rows here too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of a turn")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--only", default="", help="some of the contestants, comma-separated")
    parser.add_argument("--smoke", action="store_true", help="tiny: does it run at all")
    args = parser.parse_args()
    kinds = tuple(args.only.split(",")) if args.only else (
        "step", "trainer", "bare", "matmul", *TORCH)
    rows = []
    for dtype in args.dtypes.split(","):
        print(f"{dtype}:")
        spec = spec_of(dtype, smoke=args.smoke, steps=args.steps,
                       total=(args.rounds + 3) * args.steps)
        found = contestants(spec, kinds)
        race(tuple(found.values()), rounds=args.rounds, steps=args.steps)
        rows += report(spec, found)
    show(rows)
    write(args.json, "train_cpu", {
        "cores": len(os.sched_getaffinity(0)), "machine": platform.machine(),
        "system": platform.platform()}, rows)


if __name__ == "__main__":
    main()
