"""Run folders made up in milliseconds, as a training run would leave them."""

import json
import os
import pathlib
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from ssljax.train.ledger import BUCKETS

CONFIG = {"seed": 0, "batch_size": 8, "seq_len": 64, "total_steps": 100,
          "model": {"name": "gpt", "width": 64}, "objective": {"name": "next_token"},
          "optim": {"name": "adamw", "lr": 1e-3}}
SECONDS = dict.fromkeys(BUCKETS[:-2], 0.0)


def line(state: str, *, time: float, step: int, attempt: int = 0, began: float = 0.0,
         resumed_at: int | None = 0, pid: int | None = None, host: str | None = None,
         seconds: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Return a line of ledger.jsonl; its process is this one unless told."""
    return {"time": time, "began": began, "attempt": attempt, "pid": pid or os.getpid(),
            "host": host or socket.gethostname(), "step": step, "total": 100, "state": state,
            "resumed_at": resumed_at, "seconds": SECONDS | dict(seconds or {})}


def write_lines(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_run(folder: pathlib.Path, *, ledger: Sequence[Mapping[str, Any]] = (),
             metrics: Sequence[Mapping[str, Any]] = (), checkpoints: Sequence[int] = (),
             config: Mapping[str, Any] | None = None) -> pathlib.Path:
    """Write a run folder; return it."""
    for step in checkpoints:
        (folder / "checkpoints" / str(step)).mkdir(parents=True)
        (folder / "checkpoints" / str(step) / "state").write_bytes(b"0" * 1000)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | dict(config or {})))
    if ledger:
        write_lines(folder / "ledger.jsonl", ledger)
    if metrics:
        write_lines(folder / "metrics.jsonl", metrics)
    return folder
