"""The share of a training step that augmentation takes: SimCLR's views, made on the device.

    python tools/bench/augment.py [--json FILE] [--rounds 5] [--steps 10] [--smoke]

Two programs take turns, the train step as it is, and the same step with the views of its batch
already made: what the first takes longer is augmentation. Images are made up and stay on the
device, so that neither reading nor transfer is in it. --smoke is a rehearsal at tiny sizes.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ssljax.core.rng import record_id
from ssljax.runs.build import build_method
from ssljax.train.state import init_state, with_views
from ssljax.train.step import make_train_step

RUN = {"seed": 0, "total_steps": 1000, "objective": {"name": "simclr"},
       "optim": {"name": "adamw", "lr": 1e-3, "clip_norm": 1.0, "weight_decay": 0.1},
       "schedule": {"name": "cosine", "warmup_steps": 2}}
# (name, model, pixels of a view, pixels of a stored image, images a step, smoke's)
CASES = (
    ("ResNet-18 at 32", {"name": "resnet", "variant": "18", "stem": "small"}, 32, 32, 512,
     {"name": "resnet", "depths": (1, 1), "widths": (8, 16), "stem": "small"}),
    ("ViT-S/16 at 224", {"name": "vit", "variant": "S/16", "image_size": 224}, 224, 256, 128,
     {"name": "vit", "image_size": 16, "patch_size": 4, "width": 16, "depth": 1, "num_heads": 2}),
)
VIEWS = ("view1", "view2")


def programs(model: dict[str, Any], size: int, stored: int, batch_size: int, dtype: str,
             ) -> dict[str, tuple[Callable, Any, Any]]:
    """Return "whole" and "without" -> (train step, its state, its batch)."""
    pretext = {"name": "two_views", "size": size, "source_size": stored}
    method = build_method({**RUN, "model": model, "pretext": pretext, "batch_size": batch_size,
                           "compute_dtype": dtype})
    images = np.random.default_rng(0).integers(0, 256, (batch_size, stored, stored, 3), np.uint8)
    batch = jax.device_put({"image": images, "epoch": np.zeros(batch_size, np.int32),
                            "id": np.stack([record_id("bench", i) for i in range(batch_size)])})
    made = jax.jit(lambda b: with_views(method.pretext.views, method.key, b))(batch)

    def program(views: Callable, batch: Any) -> tuple[Callable, Any, Any]:
        step = make_train_step(method.objective, method.tx, views=views,
                               compute_dtype=dtype)
        return jax.jit(step, donate_argnums=0), init_state(method.init, method.key, None), batch

    return {"whole": program(method.pretext.views, batch),
            "without": program(lambda key, example: {name: example[name] for name in VIEWS}, made)}


def seconds_a_step(contestants: dict[str, tuple[Callable, Any, Any]], rounds: int, steps: int,
                   ) -> dict[str, float]:
    """Return the median over rounds of turns taken; the first round compiles."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    states = {name: state for name, (_, state, _) in contestants.items()}
    for _ in range(rounds + 1):
        for name, (step, _, batch) in contestants.items():
            began = time.perf_counter()
            for _ in range(steps):
                states[name], _ = step(states[name], batch)
            jax.block_until_ready(states[name])
            found[name].append((time.perf_counter() - began) / steps)
    return {name: statistics.median(times[1:]) for name, times in found.items()}


def row(case: str, metric: str, unit: str, ours: float) -> dict[str, Any]:
    """Return one row of the report."""
    return {"case": case, "metric": metric, "unit": unit, "ours": ours, "peer": None,
            "peer_name": None, "ratio": None, "why": "a share of our own step"}


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of every case."""
    rows = []
    for name, model, size, stored, batch_size, tiny in CASES:
        if args.smoke:
            model, size, stored, batch_size = tiny, 16, 16, 8
        batch_size = args.batch_size or batch_size
        times = seconds_a_step(programs(model, size, stored, batch_size, args.dtype), args.rounds,
                               args.steps)
        share = 100 * (times["whole"] - times["without"]) / times["whole"]
        case = f"{name}, batch {batch_size}, {args.dtype}"
        rows += [row(case, "share of augmentation", "% of the step", share),
                 row(case, "whole step", "images/s", batch_size / times["whole"])]
    return rows


def main() -> None:
    """Measure, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path, help="write the rows here")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of each program in a round")
    parser.add_argument("--batch-size", type=int, default=0, help="of every case")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--smoke", action="store_true", help="tiny networks and images")
    args = parser.parse_args()
    rows = measure(args)
    for r in rows:
        print(f"{r['case']:42s} {r['metric']:24s} {r['ours']:12,.1f} {r['unit']}")
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(),
               "jax": jax.__version__, "device": jax.devices()[0].device_kind}
    if args.json:
        args.json.write_text(json.dumps({"benchmark": "augment", "machine": machine, "rows": rows},
                                        indent=2) + "\n")


if __name__ == "__main__":
    main()
