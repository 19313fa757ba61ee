"""Is every vision method better than not learning? CIFAR-10, 10,000 images, two CPU cores.

    make gates                                        every method; finished runs are kept
    .venv/bin/python tools/gates/vision.py --data DIR [--only simclr,byol] [--jobs 2] [--table]

DIR holds cifar10_train.zip and cifar10_test.zip (one folder a class). Each run is `ssljax pretrain`
of experiments/vision/METHOD.py:cpu and `ssljax evaluate` of its last checkpoint, as a user would;
with --jobs 2 two runs have a core each. A run that was interrupted continues; one whose recipe has
changed since is measured again. What is found is written after every run to
docs/gates/vision.json, and as a table into docs/results.md. Beside every accuracy stand two
controls that cost no training: raw pixels and the same network untrained.
"""

import argparse
import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import queue
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from page import ROOT, write_between
from verdicts import Gate, table

from ssljax.runs.config import load_config, to_plain, with_defaults

FOUND = ROOT / "docs/gates/vision.json"
THREE, ONE = (0, 1, 2), (0,)
GATES = {
    **{name: Gate("joint", THREE) for name in (
        "simclr", "byol", "vicreg", "barlow_twins", "lejepa", "dino")},
    "mae": Gate("masked", THREE), "ijepa": Gate("predictive", THREE),
    "rotation": Gate("rotation", ONE),
    **{name: Gate("joint", ONE) for name in (
        "moco_v2", "moco_v3", "simsiam", "swav", "ibot", "dinov2")},
    **{name: Gate("predictive", ONE) for name in ("simmim", "maskfeat", "data2vec", "aim")},
    **{name: Gate("other", ONE) for name in (
        "relative_location", "jigsaw", "flow_matching", "image_gpt")},
    **{name: Gate("captioned", ONE) for name in ("clip", "siglip")},
}
_writing = threading.Lock()


class Run(NamedTuple):
    """One training of one method."""

    method: str
    seed: int


def command(run: Run, data: pathlib.Path, workdir: pathlib.Path) -> list[str]:
    """Return the command that trains a run."""
    return [sys.executable, "-m", "ssljax.cli.main", "pretrain",
            "--config", f"experiments/vision/{run.method}.py:cpu", "--workdir", str(workdir),
            f"--config.seed={run.seed}", f"--config.data.path={data / 'cifar10_train.zip'}",
            f"--config.data.test_path={data / 'cifar10_test.zip'}", "--config.data.limit=10000"]


def cpu_seconds(told: list[str], log: pathlib.Path, core: int | None) -> float:
    """Run a command to its end, on one core if told, and return the CPU time it took.

    Raises:
        RuntimeError: it failed; the log says why.
    """
    pin = None if core is None else (lambda: os.sched_setaffinity(0, {core}))
    with log.open("a") as out:
        child = subprocess.Popen(told, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
                                 preexec_fn=pin, env={**os.environ, "JAX_PLATFORMS": "cpu"})
        _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"`ssljax {told[3]}` failed; see {log}")
    return usage.ru_utime + usage.ru_stime


def spent(folder: pathlib.Path, more: float) -> float:
    """Return the CPU seconds that all starts of a run took, `more` added."""
    note = folder / "cpu_seconds.json"
    total = (json.loads(note.read_text()) if note.exists() else 0.0) + more
    note.write_text(json.dumps(total))
    return total


def measure(run: Run, data: pathlib.Path, home: pathlib.Path, core: int | None) -> dict[str, Any]:
    """Train and judge a run; return its row."""
    folder = home / f"{run.method}-{run.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    workdir, log = folder / "run", folder / "log.txt"
    total = spent(folder, cpu_seconds(command(run, data, workdir), log, core))
    cpu_seconds([sys.executable, "-m", "ssljax.cli.main", "evaluate", str(workdir)], log, core)
    config = json.loads((workdir / "config.json").read_text())
    judged = json.loads((workdir / "evaluation.json").read_text())
    return {"method": run.method, "seed": run.seed, "recipe": recipe_hash(config),
            "commit": commit(), "steps": config["total_steps"],
            "batch_size": config["batch_size"], "cpu_minutes": round(total / 60, 2),
            "judgements": numbers(judged)}


def numbers(judged: Mapping[str, Any]) -> dict[str, Any]:
    """Return {name: {"value", "low", "high"}} of the last step that evaluation.json judged."""
    last = judged["steps"][str(judged["latest"])]["evals"]
    return {name: figure for label in last.values() for name, figure in label.items()}


def recipe_hash(config: Mapping[str, Any]) -> str:
    """Return a hash of a recipe without its seed and paths."""
    kept = {k: v for k, v in config.items() if k not in ("seed", "data", "source", "evals")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


@functools.cache
def recipe_now(method: str) -> str:
    """Return the hash of a method's recipe as this checkout has it."""
    config = load_config(str(ROOT / f"experiments/vision/{method}.py:cpu"))
    return recipe_hash(with_defaults(to_plain(config)))


def commit() -> str:
    """Return the commit that is checked out, with + where files differ from it."""
    said = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    return said.stdout.strip()


def rows() -> list[dict[str, Any]]:
    """Return what was found so far."""
    return json.loads(FOUND.read_text())["rows"] if FOUND.exists() else []


def page_of(found: list[dict[str, Any]]) -> str:
    """Return the table, in which rows of another recipe than today's are marked."""
    return table(GATES, [{**row, "old": row["recipe"] != recipe_now(row["method"])}
                         for row in found])


def add(row: Mapping[str, Any]) -> None:
    """Put a row among those found, in place of an older one of the same run; write the table."""
    with _writing:
        kept = [r for r in rows() if (r["method"], r["seed"]) != (row["method"], row["seed"])]
        order = list(GATES)
        kept = sorted([*kept, row], key=lambda r: (order.index(r["method"]), r["seed"]))
        FOUND.parent.mkdir(parents=True, exist_ok=True)
        FOUND.write_text(json.dumps({"benchmark": "gates/vision", "machine": machine(),
                                     "rows": kept}, indent=1) + "\n")
        write_between("vision gates", page_of(kept))


def machine() -> str:
    """Return what ran this."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{os.cpu_count()} CPU cores, {memory:.0f} GiB"


def work(todo: list[Run], jobs: int, data: pathlib.Path, home: pathlib.Path) -> list[str]:
    """Measure every run, `jobs` at once; return what failed."""
    cores: queue.Queue[int | None] = queue.Queue()
    allowed = sorted(os.sched_getaffinity(0))
    for job in range(jobs):
        cores.put(allowed[job % len(allowed)] if jobs > 1 else None)
    failures = []

    def one(run: Run) -> None:
        core, began = cores.get(), time.monotonic()
        print(f"{run.method} seed {run.seed} ...", flush=True)
        try:
            row = measure(run, data, home, core)
            add(row)
            print(f"{run.method} seed {run.seed}: {row['cpu_minutes']} CPU-minutes, "
                  f"{(time.monotonic() - began) / 60:.1f} minutes", flush=True)
        except RuntimeError as err:
            failures.append(str(err))
            print(err, file=sys.stderr, flush=True)
        finally:
            cores.put(core)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, todo))
    return failures


def left(asked: list[str], found: list[dict[str, Any]]) -> list[Run]:
    """Return the runs of these methods that no row of today's recipe has.

    First seeds of all methods first: what is broken shows early.
    """
    have = {(r["method"], r["seed"]) for r in found if r["recipe"] == recipe_now(r["method"])}
    return [Run(name, seed) for seed in THREE for name in asked
            if seed in GATES[name].seeds and (name, seed) not in have]


def main() -> None:
    """Run what is missing, or only print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "data/cifar10")
    parser.add_argument("--home", type=pathlib.Path, default=ROOT / ".gates/vision",
                        help="folder of the runs")
    parser.add_argument("--only", default="", help="some of the methods, comma-separated")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, a core each")
    parser.add_argument("--again", action="store_true", help="measure rows that exist once more")
    parser.add_argument("--table", action="store_true", help="only write and print the table")
    args = parser.parse_args()
    if args.table:
        write_between("vision gates", page_of(rows()))
        print(page_of(rows()))
        return
    if not (args.data / "cifar10_train.zip").exists():
        sys.exit(f"No cifar10_train.zip in {args.data}: give its folder with --data DIR.")
    asked = args.only.split(",") if args.only else list(GATES)
    if unknown := [name for name in asked if name not in GATES]:
        sys.exit(f"No gate {unknown[0]!r}; known are {', '.join(GATES)}.")
    todo = left(asked, [] if args.again else rows())
    failures = work(todo, args.jobs, args.data.resolve(), args.home)
    print(page_of(rows()))
    print(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime / 60:.0f} CPU-minutes")
    sys.exit("\n".join(failures) or None)


if __name__ == "__main__":
    main()
