"""Hold the planner's roofline against runs that others have published; no hardware, a second.

    python tools/bench/published.py [--json FILE]

Each row is a published run, what the model of ssljax/train/roofline.py predicts for it, and their
ratio. Publications leave out much that decides speed: what was assumed stands beside each row. The
one free constant, EFFICIENCY, was chosen on the rows marked "fitted", so the table says how well
one number describes other people's systems, and not how fast ssljax is.
"""

import argparse
import json
import math
import pathlib
from typing import NamedTuple

from ssljax.core.sharding import AXES
from ssljax.train.chips import CHIPS
from ssljax.train.roofline import Estimate, Weight, Workload, estimate

TOLERANCE = 1.35


class Decoder(NamedTuple):
    """The dimensions of a Llama-like decoder: D, F, depth, H, K, key-value heads, V, experts."""

    width: int
    mlp_dim: int
    depth: int
    num_heads: int
    kv_heads: int
    vocab_size: int
    experts: int = 1
    chosen: int = 1


class Run(NamedTuple):
    """A published run: `mfu` is as published, with attention whole or (causal) halved."""

    name: str
    network: Decoder
    chip: str
    mesh: dict[str, int]
    seq_len: int
    rows: int                        # a device
    remat: str
    published: float
    unit: str
    causal: bool
    assumed: str


L8 = Decoder(4096, 14336, 32, 32, 8, 128_256)
L70 = Decoder(8192, 28672, 80, 64, 8, 128_256)
L7 = Decoder(4096, 11008, 32, 32, 32, 32_000)
MIXTRAL = Decoder(4096, 14336, 32, 32, 8, 32_000, experts=8, chosen=2)
RUNS = (
    Run("MaxText Llama 70B, 256 H200", L70, "h200", {"fsdp": 256}, 8192, 4, "full", 0.487, "MFU",
        True, "fsdp 256, 4 rows of 8192 a GPU, full remat"),
    Run("torchtitan Llama 8B, 8 H100, compiled", L8, "h100", {"fsdp": 8}, 8192, 2, "half", 6667,
        "tokens/s/GPU", True, "2 rows of 8192 a GPU, every second product repeated"),
    Run("AXLearn 7B, 256 H100", L7, "h100", {"data": 32, "fsdp": 8}, 4096, 4, "half", 0.39, "MFU",
        False, "data 32 x fsdp 8, 4 rows of 4096 a GPU, half remat, attention counted whole"),
    Run("MaxText Llama 70B, v5p", L70._replace(vocab_size=32_000), "v5p", {"fsdp": 64}, 4096, 4,
        "dots", 0.654, "MFU", False, "64 chips, 4 rows of 4096, products kept (offloaded), whole"),
    Run("MaxText Llama 8B, v6e", L8, "v6e", {"fsdp": 256}, 8192, 2, "full", 0.455, "MFU", False,
        "256 chips, 2 rows of 8192, full remat, whole"),
    Run("MaxText Mixtral 8x7B, v5p", MIXTRAL, "v5p", {"fsdp": 64}, 4096, 4, "dots", 0.526, "MFU",
        False, "64 chips, 4 rows of 4096, products kept, whole"),
)
# Known and not fitted: these are other programs than the model describes.
OUTSIDE = (
    Run("torchtitan Llama 8B, 8 H100, eager", L8, "h100", {"fsdp": 8}, 8192, 2, "half", 5762,
        "tokens/s/GPU", True, "as above; the model knows fused programs only"),
)


def workload(run: Run) -> Workload:
    """Return the step of a run as the roofline sees it."""
    n, devices = run.network, math.prod(run.mesh.values())
    positions = run.rows * run.seq_len * devices
    head = n.width // n.num_heads
    columns = (n.num_heads + 2 * n.kv_heads) * head
    shapes = [(n.width, columns, 1), (n.width, n.width, 1)]
    shapes += [(n.width, n.mlp_dim, n.experts)] * 2 + [(n.mlp_dim, n.width, n.experts)]

    def weight(rows: int, fan_in: int, fan_out: int, copies: int, chosen: int, depth: int,
               ) -> Weight:
        used = depth * chosen * rows
        return Weight(depth * copies * fan_in * fan_out, (depth * copies, fan_in, fan_out),
                      ((), ("fsdp",), ("tensor",)), 2 * used * fan_in * fan_out, used * fan_in,
                      used * fan_out)

    weights = [weight(positions, a, b, copies, n.chosen if copies > 1 else 1, n.depth)
               for a, b, copies in shapes]
    logits = weight(positions, n.width, n.vocab_size, 1, 1, 1)._replace(is_head=True)
    table = Weight(logits.size, (n.vocab_size, n.width), ((), ("fsdp",)), 0, 0, 0)
    attention = 12 * run.seq_len * n.width * n.depth * positions
    return Workload((*weights, logits, table), sum(3 * w.forward for w in (*weights, logits)),
                    attention / 2, 0.0, n.depth, 2, run.remat)


def predict(run: Run) -> tuple[float, Estimate]:
    """Return the prediction in the unit of the publication, and the estimate."""
    work, chip = workload(run), CHIPS[run.chip]
    devices = math.prod(run.mesh.values())
    sizes = {a: run.mesh.get(a, 1) for a in AXES}
    # float32 weights, two moments and gradients, over what shards them.
    state = 16 * sum(w.size for w in work.weights) / sizes["fsdp"]
    step = estimate(work, sizes, chip, state=state)
    if run.unit == "tokens/s/GPU":
        return run.rows * run.seq_len / step.seconds, step
    flops = work.products + work.attention * (1 if run.causal else 2)
    return flops / step.seconds / devices / chip.bf16, step


def rows() -> list[dict]:
    """Return the table."""
    out = []
    for run in (*RUNS, *OUTSIDE):
        predicted, step = predict(run)
        out.append({"case": run.name, "metric": run.unit, "unit": run.unit, "ours": predicted,
                    "peer": run.published, "peer_name": run.name.split()[0],
                    "ratio": predicted / run.published, "fitted": run in RUNS,
                    "why": run.assumed, "step_seconds": step.seconds,
                    "device_gigabytes": step.bytes / 1e9})
    return out


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    args = parser.parse_args()
    table = rows()
    print(f"{'published run':40} {'published':>10} {'predicted':>10} {'ratio':>6}  assumed")
    for row in table:
        digits = 3 if row["unit"] == "MFU" else 0
        print(f"{row['case']:40} {row['peer']:10.{digits}f} {row['ours']:10.{digits}f} "
              f"{row['ratio']:6.2f}  {row['why']}" + ("" if row["fitted"] else " (not fitted)"))
    if args.json:
        args.json.write_text(json.dumps({"benchmark": "published", "machine": "none: arithmetic",
                                         "rows": table}, indent=1))


if __name__ == "__main__":
    main()
