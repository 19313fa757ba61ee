"""What the engine's choices cost: CPU time a token, as promised and without each promise or trick.

    python tools/bench/serve_engine.py [--json FILE] [--size 12M] [--slots 8] [--rounds 3]

One process, no HTTP. `ours` is the engine as it comes: all slots in one shape, up to 8 tokens a
dispatch, nothing guessed; `peer` is the same engine with one thing changed, in turns with it on the
same requests. CPU time, because machines are shared; where it idles it costs nothing.
"""

import argparse
import platform
import statistics
import threading
import time
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from rounds import row, show, write

from ssljax.export.stablehlo import decoder_programs
from ssljax.models import gpt
from ssljax.nn.stack import unstacked
from ssljax.serve.artefact import Artefact
from ssljax.serve.device import Device, make_device
from ssljax.serve.engine import start_engine
from ssljax.serve.jobs import Job, Sampling

SIZES = {"tiny": {"vocab_size": 512, "width": 64, "depth": 2, "num_heads": 2},
         "12M": {"vocab_size": 4096, "width": 384, "depth": 6, "num_heads": 6},
         "124M": {"vocab_size": 50304, "width": 768, "depth": 12, "num_heads": 12}}
CONTEXT, PROMPT, ANSWER = 512, 60, 48
GREEDY = Sampling(temperature=0.0)


def artefact_of(size: str) -> Artefact:
    """Return an artefact of random weights that never was on a disk."""
    model, ids = gpt.make(**SIZES[size]), SIZES[size]["vocab_size"]
    shapes, _ = jax.eval_shape(lambda: model.init(jax.random.key(0), {
        "tokens": jnp.zeros((1, 4), jnp.int32)}))
    draw = np.random.default_rng(0)
    weights = jax.device_put({"params": unstacked(jax.tree.map(
        lambda x: 0.05 * draw.standard_normal(x.shape, np.float32), shapes))})
    programs = decoder_programs(model, weights)
    return Artefact(
        Path(size), {"kind": "decoder", "max_context": CONTEXT, "files": {},
                     "functions": {name: {"inputs": p.inputs} for name, p in programs.items()}},
        weights, {name: export.deserialize(bytearray(p.data)).call
                  for name, p in programs.items()},
        types.SimpleNamespace(vocab_size=ids, end_of_text=0, decode_bytes=lambda ids: b"x"))


def answer(device: Device, tokenizer: Any, prompts: Sequence[Sequence[int]],
           tokens: int = ANSWER) -> float:
    """Return the CPU seconds of answering all prompts together in a new engine."""
    engine, done = start_engine(device, tokenizer, queue=1000), threading.Semaphore(0)
    jobs = [Job(tuple(prompt), "", tokens, GREEDY, ignore_eos=True) for prompt in prompts]
    began = time.process_time()
    engine.submit([(job, lambda piece: piece.finish and done.release()) for job in jobs])
    for _ in jobs:
        done.acquire()
    seconds = time.process_time() - began
    engine.close()
    return seconds


def prompts(count: int, length: int = PROMPT) -> list[list[int]]:
    """Return `count` random prompts."""
    return np.random.default_rng(count).integers(1, 500, (count, length)).tolist()


def compare(artefact: Artefact, slots: int, rounds: int) -> list[dict[str, Any]]:
    """Return the rows of the report."""
    devices = {name: make_device(artefact, slots=slots, **options) for name, options in (
        ("ours", {}), ("adaptive", {"adaptive": True}), ("one token a dispatch", {"steps": 1}),
        ("4 guesses", {"guesses": 4}))}
    for device in devices.values():
        device.warm_up()
    one, all_busy = prompts(1), prompts(slots)
    beside = {"adaptive": {"1 of the slots busy": one, "all slots busy": all_busy},
              "one token a dispatch": {"1 of the slots busy": one, "all slots busy": all_busy},
              "4 guesses": {"all slots busy": all_busy}}
    rows = []
    for peer, cases in beside.items():
        for case, asked in cases.items():
            times: Mapping[str, list[float]] = {"ours": [], peer: []}
            for _ in range(rounds):
                for name, seconds in times.items():
                    seconds.append(answer(devices[name], artefact.tokenizer, asked))
            ours, theirs = (1000 * statistics.median(seconds) / (len(asked) * ANSWER)
                            for seconds in times.values())
            rows.append(inverse(row(f"{slots} slots, {case}", "CPU a token", "ms", ours, theirs,
                                    peer)))
    return [*rows, prefix(devices["ours"], artefact.tokenizer)]


def prefix(device: Device, tokenizer: Any) -> dict[str, Any]:
    """Return the row of 8 prompts of 400 tokens that begin alike, beside 8 that do not."""
    tails, [start] = prompts(8, 10), prompts(1, 390)
    alike = answer(device, tokenizer, [start + tail for tail in tails], 1)
    other = answer(device, tokenizer, prompts(8, 400), 1)
    return inverse(row("8 prompts of 400 tokens, 390 of them the same", "CPU a prompt", "ms",
                       125 * alike, 125 * other, "prompts that differ"))


def inverse(line: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose ratio is above 1 where ours is less."""
    return {**line, "ratio": line["peer"] / line["ours"]}


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--size", choices=SIZES, default="12M")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rows = compare(artefact_of(args.size), args.slots, args.rounds)
    show(rows)
    write(args.json, "serve_engine", {"processor": platform.processor(), "size": args.size,
                                      "jax": jax.__version__}, rows)


if __name__ == "__main__":
    main()
