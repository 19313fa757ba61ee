"""Tokens (images) a second and MFU of training on one GPU, beside PyTorch with flash attention.

    python tools/bench/train_gpu.py [--json FILE] [--cases gpt-124m,gpt-1b-2048] [--rounds 5]
    python tools/bench/train_gpu.py --smoke          tiny, on a CPU: does it run at all

Our train step on made-up data that stays in memory (model, objective, optimizer, rejection of bad
steps: all a run does on the device), against the same GPT in PyTorch: torch.compile, fused AdamW,
autocast to bfloat16 and scaled_dot_product_attention, which picks flash attention. Both take turns
in the same run. Needs jax, flax and optax, and torch in the same or another Python (--torch); not
grain, clu, ml_collections, array_record, seqio or TensorFlow.

MFU = operations of the model / (seconds x peak of the chip in bfloat16). Operations a token are
6 N_blocks + 6 V D + 6 L D depth: parameters of blocks without embeddings, the projection onto the
vocabulary, and causal attention at half the square (ssljax/train/flops.py). Recomputation does not
count. For the masked autoencoder they are counted from the program's jaxpr.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from rounds import Contestant, race, row, show, write

HERE = pathlib.Path(__file__).parent
SMALL = {"vocab_size": 50_304, "width": 768, "depth": 12, "num_heads": 12, "mlp_dim": 2048}
LARGE = {"vocab_size": 50_304, "width": 2048, "depth": 18, "num_heads": 16, "mlp_dim": 5632}
TINY = {"vocab_size": 512, "width": 64, "depth": 2, "num_heads": 2, "mlp_dim": 128}
# name -> network, tokens a row, rows, what the backward pass computes again.
GPTS = {"gpt-124m": (SMALL, 1024, 32, "none"), "gpt-124m-4096": (SMALL, 4096, 8, "none"),
        "gpt-1b-1024": (LARGE, 1024, 16, "none"), "gpt-1b-2048": (LARGE, 2048, 8, "none"),
        "gpt-1b-4096": (LARGE, 4096, 4, "none"), "smoke-gpt": (TINY, 64, 2, "none")}
OPTIM = {"optim": {"name": "adamw", "lr": 1e-4, "b2": 0.95, "weight_decay": 0.1, "clip_norm": 1.0},
         "schedule": {"name": "cosine", "warmup_steps": 2}, "total_steps": 10_000,
         "compute_dtype": "bfloat16"}


def mae(image: int, rows: int, encoder: Mapping[str, Any], decoder: Mapping[str, Any],
        ) -> dict[str, Any]:
    """Return a masked autoencoder's config, He et al. 2021, https://arxiv.org/abs/2111.06377."""
    patch = decoder["patch_size"]
    return {**OPTIM, "batch_size": rows,
            "model": {"name": "vit", "image_size": image, **encoder},
            "objective": {"name": "mae", "patch_size": patch, "decoder": {
                "name": "vit_decoder", "image_size": image, **decoder}},
            "pretext": {"name": "masked_patches", "size": image, "patch_size": patch}}


MAES = {
    "mae-vit-l": mae(224, 256, {"variant": "L/16"},
                     {"patch_size": 16, "width": 512, "depth": 8, "num_heads": 16}),
    "smoke-mae": mae(32, 4, {"patch_size": 8, "width": 32, "depth": 2, "num_heads": 2},
                     {"patch_size": 8, "width": 32, "depth": 1, "num_heads": 2})}


def spec_of(case: str, device: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return what the contestants of a case are told."""
    if case in MAES:
        return {"config": MAES[case], "dtype": "bfloat16"}
    shape, seq_len, rows, remat = GPTS[case]
    model = {"name": "gpt", **shape, "remat": args.remat or remat, "layers": args.layers,
             "matmul": args.matmul}
    # One document a row, as the twin has: attention is causal and has no mask.
    config = {**OPTIM, "batch_size": args.batch or rows, "model": model, "packed": False,
              "objective": {"name": "next_token", "loss": args.loss},
              "pretext": {"name": "next_token", "seq_len": seq_len}}
    return {**shape, "seq_len": seq_len, "batch_size": args.batch or rows, "dtype": "bfloat16",
            "device": device, "config": config, "precision": "high"}


def operations(case: str, spec: Mapping[str, Any]) -> tuple[float, int, str]:
    """Return operations of the model a step, tokens or images a step, and their name."""
    from contestant_jax import method_of

    from ssljax.train.flops import step_flops, transformer_flops

    config = spec["config"]
    if case in MAES:
        import jax

        pretext, objective, _ = method_of(config)
        flops = step_flops(objective, pretext.views, pretext.spec, config["batch_size"],
                           key=jax.random.key(0), causal=False)
        return flops.total, config["batch_size"], "images"
    d, f, tokens = spec["width"], spec["mlp_dim"], spec["seq_len"] * spec["batch_size"]
    return tokens * transformer_flops(
        blocks=spec["depth"] * (4 * d * d + 3 * d * f), vocab_size=spec["vocab_size"], width=d,
        depth=spec["depth"], seq_len=spec["seq_len"]), tokens, "tokens"


def measure(case: str, device: str, peak: float | None, args: argparse.Namespace,
            ) -> list[dict[str, Any]]:
    """Return the rows of a case."""
    spec = spec_of(case, device, args)
    told = json.dumps(spec)
    # Both must fit on one card at once: neither may reserve it.
    env = {"PYTHONPATH": str(HERE.parents[1]), "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
           "JAX_PLATFORMS": device}
    ours = Contestant("ours", [sys.executable, str(HERE / "contestant_jax.py"), "step", told], env)
    twin = None if case in MAES else Contestant(
        "torch.compile", [args.torch, str(HERE / "contestant_torch.py"), "compile", told])
    race(tuple(c for c in (ours, twin) if c), rounds=args.rounds, steps=args.steps)
    flops, units, unit = operations(case, spec)
    rate = lambda one: units / one.median() if one and one.median() else None  # noqa: E731
    name = "torch.compile, SDPA" if twin else ""
    why = ours.why or (twin.why if twin else "no twin of this network yet")
    rows = [row(case, "training", f"{unit}/s", rate(ours), rate(twin), name, why)]
    if peak and ours.median():
        mfu = [flops * r / units / peak if r else None for r in (rate(ours), rate(twin))]
        rows.append(row(case, "MFU, causal, non-embedding", "fraction", *mfu, name, why))
    if ours.median():
        rows.append(row(case, "model operations", "TFLOP/s", flops / ours.median() / 1e12, None, "",
                        "what MFU is a fraction of"))
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the rows here too")
    parser.add_argument("--cases", default="gpt-124m,gpt-124m-4096,gpt-1b-2048,mae-vit-l")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of a turn")
    parser.add_argument("--batch", type=int, default=0, help="rows, where not the case's own")
    parser.add_argument("--remat", default="", help="none, dots, names, offload or full")
    parser.add_argument("--layers", default="auto", help="auto, scan or unroll")
    parser.add_argument("--loss", default="auto", help="auto, full or fused")
    parser.add_argument("--matmul", default="full", help="full or fp8")
    parser.add_argument("--torch", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--smoke", action="store_true", help="tiny cases on a CPU")
    args = parser.parse_args()
    if args.smoke:
        args.cases, args.rounds, args.steps = "smoke-gpt,smoke-mae", 2, 2
    # This process only counts, on the CPU: the card is the contestants'.
    os.environ["JAX_PLATFORMS"] = "cpu"
    sys.path.insert(0, str(HERE.parents[1]))
    from ssljax.train.chips import chip, chip_name

    device, kind = ("cpu", "cpu") if args.smoke else ("cuda", gpu_name())
    known = None if args.smoke else chip_name(kind)
    peak = chip(known).bf16 if known else None
    rows = []
    for case in args.cases.split(","):
        print(f"{case}:")
        rows += measure(case, device, peak, args)
    show(rows)
    write(args.json, "train_gpu", {"device": kind, "bf16_peak": peak,
                                   "system": platform.platform()}, rows)


def gpu_name() -> str:
    """Return the name of the first GPU, asked of the driver so that no memory is taken."""
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split("\n")[0]


if __name__ == "__main__":
    main()
