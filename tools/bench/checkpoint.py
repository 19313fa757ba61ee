"""What a checkpoint costs a run: milliseconds that block a step, wall time lost, time to restore.

    python tools/bench/checkpoint.py [--json FILE] [--repeats 5] [--sizes 12M,50M]

`blocking` is how long `save` holds the loop up. `cost of a save` is what a save lengthens a stretch
of training by, its background work included: stretches of the same steps with and without a save
take turns, and the difference of the medians counts; at one save a minute the goal is 2 % of wall
time. The peer is Orbax as its guide begins, saving a pytree and waiting for it; restoring is
compared with Orbax alone, without the checks that ours makes of every byte.
"""

import argparse
import pathlib
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
from contestant_jax import made_up, method_of
from orbax.checkpoint import v1 as ocp
from rounds import row, show, write

from ssljax.train.checkpoint import Checkpoints
from ssljax.train.state import abstract_state, init_fn, init_state
from ssljax.train.step import make_train_step

SIZES = {"tiny": {"vocab_size": 512, "width": 64, "depth": 2, "num_heads": 2},
         "12M": {"vocab_size": 4096, "width": 384, "depth": 6, "num_heads": 6},
         "50M": {"vocab_size": 16384, "width": 640, "depth": 8, "num_heads": 10}}
ITEMS = {"config": {}, "data": {"step": 0, "fingerprint": {}}, "versions": {}, "judgements": {}}
MINUTE = 60.0


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and result."""
    began = time.perf_counter()
    result = jax.block_until_ready(function())
    return time.perf_counter() - began, result


def prepare(size: str) -> tuple:
    """Return a compiled step, its state, a batch, and the abstract state."""
    config = {"model": {"name": "gpt", **SIZES[size]}, "objective": {"name": "next_token"},
              "pretext": {"name": "next_token", "seq_len": 128}, "batch_size": 2,
              "schedule": {"name": "cosine", "warmup_steps": 2}, "total_steps": 1000,
              "optim": {"name": "adamw", "lr": 1e-3}}
    pretext, objective, tx = method_of(config)
    batch = made_up(pretext, config)
    init = init_fn(objective, tx, pretext.views, pretext.spec, config["batch_size"])
    state = init_state(init, jax.random.key(0), None)
    step = jax.jit(make_train_step(objective, tx, views=pretext.views), donate_argnums=0)
    return (step.lower(state, batch).compile(), state, batch,
            abstract_state(init, jax.random.key(0), None))


def measure(size: str, folder: pathlib.Path, repeats: int) -> list[dict[str, Any]]:
    """Return the rows of one size."""
    step, state, batch, wanted = prepare(size)
    checkpoints = Checkpoints(folder / "ours")
    seconds, (state, _) = timed(lambda: step(state, batch))
    seconds, (state, _) = timed(lambda: step(state, batch))
    # Long enough that the background work of a save ends within the stretch.
    stretch = max(4, int(4.0 / seconds))
    blocking, plain, saving, ours_saved, theirs_saved = [], [], [], [], []
    for i in range(2 * repeats):
        began = time.perf_counter()
        if i % 2:
            checkpoints.save(state, int(state.step), ITEMS)
            blocking.append(time.perf_counter() - began)
        for _ in range(stretch):
            state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        (saving if i % 2 else plain).append(time.perf_counter() - began)
        checkpoints.wait()
    for i in range(repeats):
        state, _ = jax.block_until_ready(step(state, batch))
        arrays = state._replace(key=jax.random.key_data(state.key))
        began = time.perf_counter()
        ocp.save(folder / "theirs" / str(i), arrays)
        theirs_saved.append(time.perf_counter() - began)
        began = time.perf_counter()
        checkpoints.save(state, int(state.step), ITEMS)
        checkpoints.wait()
        ours_saved.append(time.perf_counter() - began)
    newest = int(state.step)
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
                        arrays)
    restored = [timed(lambda: checkpoints.load(newest, wanted)[0])[0] for _ in range(repeats)]
    theirs = [timed(lambda: ocp.load(folder / "theirs" / "0", like))[0] for _ in range(repeats)]
    checkpoints.close()
    median = statistics.median
    cost = median(saving) - median(plain)
    megabytes = sum(x.nbytes for x in jax.tree.leaves(arrays)) / 2**20
    case = f"GPT {size}, {megabytes:.0f} MiB of state"
    orbax = "Orbax, waiting"
    return [
        less(case, "blocking of a save", "ms", 1e3 * median(blocking), 1e3 * median(theirs_saved),
             orbax),
        row(case, "blocking, in steps", "steps", median(blocking) / seconds, None, "",
            "a fraction of our own step"),
        row(case, "cost of a save", "ms", 1e3 * cost, None, "", "difference of stretches"),
        row(case, "wall time at a save a minute", "%", 100 * cost / MINUTE, None, "", "goal: 2 %"),
        less(case, "save until on disk", "ms", 1e3 * median(ours_saved),
             1e3 * median(theirs_saved), orbax),
        less(case, "restore", "ms", 1e3 * median(restored), 1e3 * median(theirs),
             "Orbax, unverified")]


def less(case: str, metric: str, unit: str, ours: float, peer: float, name: str,
         ) -> dict[str, Any]:
    """Return a row where less is better."""
    return {**row(case, metric, unit, ours, peer, name), "ratio": peer / ours}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the rows here too")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", default="12M,50M")
    args = parser.parse_args()
    rows = []
    for size in args.sizes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(size, pathlib.Path(folder), args.repeats)
    show(rows)
    write(args.json, "checkpoint", {"machine": platform.machine(), "system": platform.platform(),
                                    "device": jax.devices()[0].device_kind}, rows)


if __name__ == "__main__":
    main()
