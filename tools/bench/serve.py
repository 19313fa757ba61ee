"""Serving over HTTP beside transformers, vLLM and onnxruntime: the same weights and prompts.

    make bench-env-serve && .venv/bin/python tools/bench/serve.py [--json FILE] [--rounds 3]

GPT-2 small and ViT-S/16 of random weights are written once in Hugging Face's form, imported by
`ssljax import` and served by `ssljax serve`. Beside it run transformers' generate in static batches
(serve_peer.py), vllm-cpu and onnxruntime, all in float32 and in turns on the same cores. Measured:
one client (ours with one slot) and 16 with staggered arrivals (16 slots), prompts and answers of
mixed lengths; images; CPU a request at 64 connections with models that cost nothing; and the time
from the start of a process to its first answer, compiled programs kept. Peers' exact versions are
in tools/bench/serve_constraints.txt.
"""

import argparse
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import serve_plans as plans
from rounds import row, show, write
from serve_figures import (
    IMAGES,
    TEXT,
    compared,
    failures,
    image_figures,
    largest_difference,
    line,
    same_texts,
    text_figures,
)
from serve_processes import Server, free_port, load

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = ROOT / ".bench-env-serve/bin"
MODELS = ROOT / ".bench/serve"
SSLJAX = [sys.executable, "-m", "ssljax.cli.main"]
CASES = ("text", "images", "overhead", "start")
Start = Callable[[], Server]
Rows = list[dict[str, Any]]


def prepare(folder: pathlib.Path, *, quick: bool) -> None:
    """Write the models, and import them as artefacts."""
    told = ["--quick"] if quick else []
    subprocess.run([PEERS / "python", HERE / "serve_models.py", folder, *told], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for model in ("gpt", "vit", "trivial-gpt", "trivial-vit"):
        print(f"Importing {model} ...", flush=True)
        subprocess.run([*SSLJAX, "import", folder / model, "--output", artefact(folder, model),
                        "--name", model.removeprefix("trivial-")], check=True, env=ours_env(),
                       stdout=subprocess.DEVNULL)


def artefact(folder: pathlib.Path, model: str) -> pathlib.Path:
    """Return where the artefact of a model is."""
    return folder / f"{model}-artefact"


def ours_env(programs: str | None = None) -> dict[str, str]:
    """Return the environment of our processes; `programs` keeps what is compiled there."""
    env = {**os.environ, "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu"),
           "PYTHONPATH": str(ROOT)}
    kept = {"JAX_COMPILATION_CACHE_DIR": programs,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"} if programs else {}
    return env | kept


def ours(folder: pathlib.Path, model: str, *options: str, programs: str | None = None) -> Server:
    """Start `ssljax serve`."""
    return Server("ours", [*SSLJAX, "serve", str(artefact(folder, model)), "--port", "0",
                           "--queue", "256", *options], env=ours_env(programs))


def peer(kind: str, model: pathlib.Path) -> Server:
    """Start serve_peer.py."""
    return Server(kind, [str(PEERS / "python"), str(HERE / "serve_peer.py"), kind, str(model)])


def vllm(model: pathlib.Path, *, eager: bool) -> Server:
    """Start vLLM's own server, on CPUs."""
    port = free_port()
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    # Its own binding counts cores that a container may not have.
    env = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": cores,
           "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    # Not its command `vllm`, which looks for metadata that the wheel for CPUs has not.
    return Server("vllm-cpu", [
        str(PEERS / "python"), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model),
        "--host", "127.0.0.1", "--port", str(port), "--served-model-name", "gpt",
        "--dtype", "float32", "--max-num-seqs", "16", *(["--enforce-eager"] if eager else [])],
        env=env, url=f"http://127.0.0.1:{port}")


def race(starts: Mapping[str, Start], plan: Callable[[int], plans.Plan], rounds: int,
         ) -> tuple[dict[str, list], dict[str, str]]:
    """Start everyone, let all answer the same in turns; return runs by name, and who has none why.

    Plan 0 warms up and does not count; every round has prompts of its own.
    """
    servers = {name: start() for name, start in starts.items()}
    try:
        for name, server in servers.items():
            ready = server.wait()
            print(f"  {name}: {f'ready after {server.age():.1f} s' if ready else server.why}",
                  flush=True)
        live = {name: server for name, server in servers.items() if not server.why}
        for server in live.values():
            load(server, plan(0))
        found: dict[str, list] = {name: [] for name in live}
        for i in range(1, rounds + 1):
            order = list(live) if i % 2 else list(reversed(live))
            for name in order:
                found[name].append(load(live[name], plan(i)))
            print(f"  round {i} of {rounds}", flush=True)
        return found, {name: s.why for name, s in servers.items() if s.why}
    finally:
        for server in servers.values():
            server.close()


def text(folder: pathlib.Path, sizes: plans.Sizes, args: argparse.Namespace) -> Rows:
    """Return the rows of completions."""
    rows = []
    for clients in (1, 16):
        case = f"GPT-2 small, {clients} client{'s' if clients > 1 else ''}"
        print(f"{case}:", flush=True)
        starts = {"ours": lambda n=clients: ours(folder, "gpt", "--slots", str(n)),
                  "transformers": lambda: peer("transformers", folder / "gpt"),
                  "vllm-cpu": lambda: vllm(folder / "gpt", eager=args.eager)}
        found, whys = race(chosen(starts, args), lambda i, n=clients: plans.completions(
            sizes, n, seed=100 * n + i), args.rounds)
        rows += compared(case, found, whys, TEXT, text_figures) + same_texts(case, found)
    return rows


def images(folder: pathlib.Path, sizes: plans.Sizes, args: argparse.Namespace) -> Rows:
    """Return the rows of embeddings."""
    rows = []
    for clients in (1, 16):
        case = f"ViT-S/16, {clients} client{'s' if clients > 1 else ''}"
        print(f"{case}:", flush=True)
        starts = {"ours": lambda: ours(folder, "vit"),
                  "onnxruntime": lambda: peer("onnxruntime", folder / "vit.onnx")}
        found, whys = race(chosen(starts, args), lambda i, n=clients: plans.embeddings(
            sizes, n, seed=1000 * i), args.rounds)
        rows += compared(case, found, whys, IMAGES, image_figures)
        rows += largest_difference(case, found)
    return rows


def chosen(starts: Mapping[str, Start], args: argparse.Namespace) -> dict[str, Start]:
    """Return those of --only."""
    only = args.only.split(",") if args.only else starts
    return {name: start for name, start in starts.items() if name in only}


def overhead(folder: pathlib.Path, sizes: plans.Sizes, args: argparse.Namespace) -> Rows:
    """Return CPU a request of our server at 64 connections."""
    rows = []
    for name, (model, plan) in plans.overheads(sizes).items():
        print(f"64 connections, {name}:", flush=True)
        found, whys = race({"ours": lambda m=model: ours(
            folder, f"trivial-{m}", "--slots", "16", "--api-key", plans.KEY)},
                           lambda i, plan=plan: plan, args.rounds)
        why = whys.get("ours") or failures(found["ours"])
        spent = None if why else statistics.median(
            1000 * run["cpu"] / len(run["answers"]) for run in found["ours"])
        rows.append(row("64 connections", f"server CPU, {name}", "CPU-ms", spent, None, "",
                        why or "a trivial model: what is left is the server"))
    return rows


def first_answer(start: Start, plan: plans.Plan) -> tuple[float | None, str]:
    """Return seconds from the start of a process to its first whole answer, or None and why."""
    server = start()
    try:
        if not server.wait():
            return None, server.why
        done = load(server, {**plan, "bodies": plan["bodies"][:1], "clients": 1})
        # The client's own start is no part of the server's: only its answer is added.
        return server.ready_after + done["answers"][0]["seconds"], failures([done])
    finally:
        server.close()


def start(folder: pathlib.Path, sizes: plans.Sizes, args: argparse.Namespace) -> Rows:
    """Return the rows of cold starts: the first fills the cache of programs, the others count."""
    rows = []
    cases = {"gpt": ("GPT-2 small", plans.completions(sizes, 1, 1), {
        "transformers": lambda: peer("transformers", folder / "gpt"),
        "vllm-cpu": lambda: vllm(folder / "gpt", eager=args.eager)}),
        "vit": ("ViT-S/16", plans.embeddings(sizes, 1, 1), {
            "onnxruntime": lambda: peer("onnxruntime", folder / "vit.onnx")})}
    with tempfile.TemporaryDirectory() as programs:
        for model, (name, plan, peers) in cases.items():
            print(f"Starts of {name} ...", flush=True)
            begin = {"ours": lambda m=model: ours(folder, m, programs=programs)} | peers
            seconds = {who: [first_answer(one, plan) for _ in range(sizes.starts + 1)]
                       for who, one in chosen(begin, args).items()}
            rows += start_rows(f"start of {name}", seconds)
    return rows


def start_rows(case: str, seconds: Mapping[str, list[tuple[float | None, str]]]) -> Rows:
    """Return the first start and the median of the others, ours beside each peer."""
    why = {who: next((w for _, w in found if w), "") for who, found in seconds.items()}
    known = {who: [s for s, _ in found] for who, found in seconds.items() if not why[who]}
    warm = {who: statistics.median(found[1:]) for who, found in known.items()}
    rows = [row(case, "process to first answer, nothing compiled", "s", known["ours"][0], None, "",
                "fills the cache")] if "ours" in known else []
    return rows + [line(case, "process to first answer, programs kept", "s", warm.get("ours"),
                        warm.get(who), who, why[who] or why.get("ours", ""), more=False)
                   for who in seconds if who != "ours" or len(seconds) == 1]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the rows here too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES), help="some of %(default)s")
    parser.add_argument("--only", default="", help="some of the contestants, comma-separated")
    parser.add_argument("--eager", action="store_true", help="vLLM without torch.compile")
    parser.add_argument("--models", type=pathlib.Path, default=MODELS, metavar="FOLDER",
                        help="where the weights are kept (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny: does it run at all")
    args = parser.parse_args()
    if not (PEERS / "python").exists():
        sys.exit("No .bench-env-serve, which writes the weights: run `make bench-env-serve`.")
    sizes = plans.QUICK if args.quick else plans.FULL
    prepare(args.models, quick=args.quick)
    measures = {"text": text, "images": images, "overhead": overhead, "start": start}
    rows = [row for case in args.cases.split(",") for row in measures[case](
        args.models, sizes, args)]
    show(rows)
    write(args.json, "serve", {"cores": len(os.sched_getaffinity(0)),
                               "machine": platform.machine(), "system": platform.platform(),
                               "quick": args.quick}, rows)


if __name__ == "__main__":
    main()
