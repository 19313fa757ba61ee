"""When the collapse alarm fires: on methods that were broken, and on ones that are sound.

    .venv/bin/python tools/gates/alarm.py [--only byol_no_predictor,...] [--out FILE]

Each fault takes away what keeps a method from collapsing; each healthy run is a method as it
comes. Both train a tiny vision transformer on scikit-learn's digits, or on 2,000 images of
--data DIR/cifar10_train.zip, for --steps steps, and hand the alarm what a run of `ssljax pretrain`
would log. Reported: the spread of features at the end, the step at which the alarm first fired and
by which metric, and the share of healthy runs in which it fired at all. Rows are kept in
docs/gates/alarm.json as they come, and those that are there are not run again; the table goes into
docs/results.md. With --out both stay in a file of their own.
"""

import argparse
import contextlib
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import jax
from page import ROOT, write_between

from ssljax.families.heads import Head
from ssljax.objectives import byol, dino, swav
from ssljax.runs.build import build_method, build_stream
from ssljax.train.alarm import Watch
from ssljax.train.state import init_state
from ssljax.train.step import make_train_step

FOUND = ROOT / "docs/gates/alarm.json"
LOG = 10                    # steps between what is logged, a run's default
Patch = Callable[[], contextlib.AbstractContextManager[Any]]

NARROW = {"hidden_dim": 128, "out_dim": 64}
PROTOTYPES = {"out_dim": 256, "hidden_dim": 128, "bottleneck_dim": 32}
METHODS: dict[str, dict[str, Any]] = {
    "simclr": {**NARROW, "temperature": 0.2}, "moco_v2": {**NARROW, "queue_size": 1024},
    "moco_v3": {"dims": (128, 128, 64), "predictor_dim": 128}, "byol": {**NARROW, "momentum": 0.97},
    "simsiam": {"hidden_dims": (128,), "out_dim": 128, "bottleneck_dim": 32},
    "swav": {**NARROW, "prototypes": 256}, "barlow_twins": {"dims": (256, 256)},
    "vicreg": {"dims": (256, 256)}, "lejepa": {},
    "dino": {**PROTOTYPES, "momentum": 0.99, "teacher_temperature": 0.04},
}
# At 2e-3 DINO settles at log K, every image assigned to all prototypes alike: no healthy run.
LR = {"dino": 5e-4}


def nothing() -> contextlib.AbstractContextManager[None]:
    """Break nothing."""
    return contextlib.nullcontext()


def no_stop_gradient() -> contextlib.AbstractContextManager[Any]:
    """Let gradients through wherever a method stops them."""
    return mock.patch.object(jax.lax, "stop_gradient", lambda x: x)


def no_predictor() -> contextlib.AbstractContextManager[Any]:
    """Make BYOL's predictor the identity."""
    same = Head(lambda key, width: ({}, {}), lambda params, stats, x, *, train: (x, stats))
    whole = byol.make_networks
    return mock.patch.object(byol, "make_networks", lambda model, projector, predictor, *rest:
                             whole(model, projector, same, *rest))


def no_memory(module: Any) -> Patch:
    """Return what makes a method's teacher its student of one step ago."""
    return lambda: mock.patch.object(module, "cosine_momentum",
                                     lambda base, total: lambda step: 0.0)


def no_equal_shares() -> contextlib.AbstractContextManager[Any]:
    """Make SwAV's assignments plain softmaxes, which need not use all prototypes."""
    return mock.patch.object(swav, "sinkhorn", lambda scores, *, temperature, **_:
                             jax.nn.softmax(scores / temperature, axis=-1))


# fault -> (method, options instead of the method's, factor of the learning rate, what is broken)
FAULTS: dict[str, tuple[str, dict[str, Any], float, Patch]] = {
    "simsiam_no_stop_gradient": ("simsiam", {}, 1, no_stop_gradient),
    "byol_no_predictor": ("byol", {}, 1, no_predictor),
    "byol_ema_0": ("byol", {}, 1, no_memory(byol)),
    "vicreg_no_variance": ("vicreg", {"variance": 0.0}, 1, nothing),
    "dino_no_centring": ("dino", {"centre_momentum": 1.0}, 1, nothing),
    "dino_ema_0": ("dino", {}, 1, no_memory(dino)),
    "swav_dead_codebook": ("swav", {}, 1, no_equal_shares),
    **{f"{name}_lr_x100": (name, {}, 100, nothing) for name in ("simclr", "byol", "vicreg", "dino",
                                                               "simsiam")},
}


def config_of(method: str, options: dict[str, Any], *, data: str, lr: float, seed: int,
              steps: int) -> dict[str, Any]:
    """Return the plain config of a run; `data` is a zip of CIFAR-10, or digits where empty."""
    size, channels = (32, 3) if data else (8, 1)
    view = ({"min_area": 0.2, "jitter": 0.5, "blur_probability": 0.0} if data else
            {"min_area": 0.5, "jitter": 0.5, "flip_probability": 0.0})
    return {
        "seed": seed, "total_steps": steps, "batch_size": 64, "compute_dtype": "float32",
        "source": ({"name": "images", "path": data, "limit": 2000} if data else
                   {"name": "digits", "split": "train"}),
        "pretext": {"name": "two_views", "size": size, "channels": channels, **view},
        "model": {"name": "vit", "image_size": size, "channels": channels, "width": 64, "depth": 2,
                  "num_heads": 4, "patch_size": size // 4},
        "objective": {"name": method, **METHODS[method], **options},
        "optim": {"name": "adamw", "lr": lr, "weight_decay": 0.05, "clip_norm": 3.0},
        "schedule": {"name": "cosine", "warmup_steps": 20}}


def logged(config: dict[str, Any]) -> Iterator[tuple[int, dict[str, float]]]:
    """Train as a plain config says; yield what a run would log, every LOG steps."""
    method = build_method(config)
    stream = build_stream(config, method.pretext)
    state = init_state(method.init, method.key, None)
    step = jax.jit(make_train_step(method.objective, method.tx, views=method.pretext.views,
                                   log_steps=LOG, layout=method.layout), donate_argnums=0)
    for t in range(config["total_steps"]):
        state, metrics = step(state, stream.host_rows(t, 0, 1))
        if (t + 1) % LOG == 0:
            yield t + 1, {name: float(x) for name, x in metrics.items() if name != "norms"}


def run(name: str, *, data: str, seed: int, steps: int) -> dict[str, Any]:
    """Return the row of a fault, or of a method that is left alone."""
    method, options, factor, broken = FAULTS.get(name, (name, {}, 1, nothing))
    lr = LR.get(method, 2e-3) * factor
    config = config_of(method, options, data=data, lr=lr, seed=seed, steps=steps)
    watch, spread, fired, began = Watch(), [], [], time.perf_counter()
    with broken():
        for step, scalars in logged(config):
            fired += watch(step, scalars)
            spread.append(scalars["embedding_std"])
    first = fired[0] if fired else None
    return {"run": name, "data": "cifar10" if data else "digits", "seed": seed, "steps": steps,
            "embedding_std": spread[-1], "fired_at": first and first.step,
            "by": first and first.metric, "message": first and str(first),
            "seconds": round(time.perf_counter() - began, 1)}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown table of rows, and the sentence on false alarms."""
    lines = ["| run | seed | features' spread at the end | alarm at step | by |",
             "|---|---|---|---|---|"]
    lines += [f"| {row['run']} | {row['seed']} | {row['embedding_std']:.3f} | "
              f"{row['fired_at'] or 'none'} | {row['by'] or ''} |" for row in rows]
    healthy = [row for row in rows if row["run"] not in FAULTS]
    alarmed = [row for row in healthy if row["fired_at"]]
    said = f"False alarms: {len(alarmed)} of {len(healthy)} healthy runs."
    return "\n".join([*lines, "", said])


def main() -> None:
    """Run what was asked for and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="folder of cifar10_train.zip; else digits")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=2, help="of every healthy run")
    parser.add_argument("--only", default="", help="faults and methods, by comma")
    parser.add_argument("--out", type=pathlib.Path, default=FOUND, help="where the rows go")
    told = parser.parse_args()
    data = str(pathlib.Path(told.data) / "cifar10_train.zip") if told.data else ""
    asked = told.only.split(",") if told.only else [*FAULTS, *METHODS]
    if unknown := [name for name in asked if name not in FAULTS and name not in METHODS]:
        sys.exit(f"No run {unknown[0]!r}; known are {', '.join([*FAULTS, *METHODS])}.")
    rows = json.loads(told.out.read_text()) if told.out.exists() else []
    have = {(row["run"], row["data"], row["seed"], row["steps"]) for row in rows}
    for name in asked:
        for seed in range(1 if name in FAULTS else told.seeds):
            if (name, "cifar10" if data else "digits", seed, told.steps) in have:
                continue
            rows.append(run(name, data=data, seed=seed, steps=told.steps))
            print(json.dumps(rows[-1] | {"message": None}), flush=True)
            told.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))
    if told.out == FOUND:
        write_between("alarm", table(rows))


if __name__ == "__main__":
    main()
