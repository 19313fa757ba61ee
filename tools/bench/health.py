"""What judging health costs a run: its seconds against those of the steps between.

    python tools/bench/health.py [--json FILE] [--config experiments/vision/simclr.py:cpu]
                                 [--data DIR] [--every 200] [--steps 20]

Builds the run of an experiment, times its compiled train step and its `health` evaluator in turn,
both warm, and reports the share of wall time that judging takes at the run's own `every`, beside
the goal of 2 %. There is no peer: none that trains computes these while it does.
"""

import argparse
import platform
import statistics
import time
from typing import Any

import jax
from rounds import row, show, write

from ssljax.runs.build import build_method, build_stream, build_train_step
from ssljax.runs.config import load_config, to_plain, with_defaults
from ssljax.runs.evaluators import build_evaluators
from ssljax.train.state import init_state

GOAL = 0.02


def seconds(function: Any, repeats: int) -> float:
    """Return the median seconds of a call, after one that compiles."""
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        jax.block_until_ready(function())
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def measure(config: dict[str, Any], steps: int, every: int) -> list[dict[str, Any]]:
    """Return the rows of one run."""
    spec = config["evals"]["health"]
    config = {**config, "evals": {"health": spec}}
    method = build_method(config)
    stream = build_stream(config, method.pretext)
    batch = jax.device_put(stream.host_rows(0, 0, 1))
    held = {"state": init_state(method.init, method.key, None, method.layout)}
    step = jax.jit(build_train_step(config, method), donate_argnums=0)

    def one_step() -> Any:
        held["state"], metrics = step(held["state"], batch)
        return metrics["loss"]

    judge = build_evaluators(config, method)["health"]
    of_step = seconds(one_step, steps)
    of_judging = seconds(lambda: judge.run(held["state"].params, held["state"].extra), 3)
    every = every or judge.every
    share = of_judging / (of_judging + every * of_step)
    name = config["objective"]["name"]
    why = "no peer computes these while it trains"
    return [row(name, "train step", "ms", 1e3 * of_step, None, "", why=why),
            row(name, "judging health once", "ms", 1e3 * of_judging, None, "", why=why),
            row(name, f"share of wall time, every {every} steps (goal {100 * GOAL:g} %)", "%",
                100 * share, None, "", why=why)]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="experiments/vision/simclr.py:smoke")
    parser.add_argument("--data", default="", help="config.data.path of the experiment")
    parser.add_argument("--every", type=int, default=0, help="steps; the experiment's unless told")
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--json", default="")
    told = parser.parse_args()
    overrides = [f"--config.data.path={told.data}"] if told.data else []
    config = with_defaults(to_plain(load_config(told.config, overrides)))
    rows = measure(config, told.steps, told.every)
    show(rows)
    if told.json:
        write(told.json, "health", {"machine": platform.machine(),
                                    "device": jax.devices()[0].device_kind}, rows)


if __name__ == "__main__":
    main()
