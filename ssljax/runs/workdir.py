"""What a run keeps in its folder besides checkpoints: whose it is, what it refused and skipped.

config.json: the resolved config; another experiment may not use the folder.
ledger.jsonl: where every second went, see train.ledger.
metrics.jsonl: what was logged.
rejected.jsonl: steps that were not taken; step, seed, batch, loss and gradient norm.
rewinds.json: [[step, batches], ...]; from that step on, so many batches were skipped.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from ssljax.core.errors import CheckpointError, ConfigError
from ssljax.core.files import read_json_lines, write_json
from ssljax.data.skips import Skips, position
from ssljax.runs.config import config_differences
from ssljax.train.meter import Rejection

REJECTED, REWINDS = "rejected.jsonl", "rewinds.json"


def claim_workdir(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
    """Write the config into a new workdir, or make sure that an old one is of the same run.

    Raises:
        ConfigError: the workdir belongs to another experiment, or is some other folder.
    """
    path = workdir / "config.json"
    if path.is_file():
        found = config_differences(json.loads(path.read_text()), config)
        if found:
            raise ConfigError(f"Workdir {workdir} belongs to another experiment:\n  "
                              + "\n  ".join(found) + "\nChoose another --workdir, or undo these "
                              "changes to continue that run.")
    elif workdir.is_dir() and any(workdir.iterdir()):
        raise ConfigError(f"Workdir {workdir} is not empty and not a run of ssljax; choose another "
                          "--workdir. Nothing in it was touched.")
    write_json(path, config)


def check_same_data(saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise CheckpointError if a run would continue on other data than it began with."""
    found = [f"{n}: {saved.get(n, 'absent')} when saved, {now.get(n, 'absent')} now"
             for n in sorted(saved.keys() | now.keys()) if saved.get(n) != now.get(n)]
    if found:
        raise CheckpointError("The data of this run has changed since its checkpoint:\n  "
                              + "\n  ".join(found) + "\nPut the old dataset back, or start a new "
                              "run with another --workdir.")


def read_skips(workdir: pathlib.Path) -> Skips:
    """Return which batches a run has skipped so far."""
    path = workdir / REWINDS
    return tuple(map(tuple, json.loads(path.read_text()))) if path.is_file() else ()


def add_skip(workdir: pathlib.Path, step: int, batches: int) -> Skips:
    """Note that from `step` on `batches` more batches are skipped; return all skips."""
    skips = (*read_skips(workdir), (step, batches))
    write_json(workdir / REWINDS, skips)
    return skips


def rejection_log(workdir: pathlib.Path, seed: int, skips: Skips) -> Callable[[Rejection], None]:
    """Return a function that records a rejected step, once: a resumed run may meet it again."""
    path = workdir / REJECTED
    known = {(row["step"], row["batch"]) for row in read_json_lines(path)}

    def record(rejection: Rejection) -> None:
        batch = position(rejection.step - 1, skips)
        logging.warning("Step %d was rejected: loss %g, gradient norm %g. See it again with "
                        "`ssljax replay %s --step %d`.", rejection.step, rejection.loss,
                        rejection.grad_norm, workdir, rejection.step)
        if (rejection.step, batch) not in known:
            known.add((rejection.step, batch))
            with path.open("a") as file:
                row = {**dataclasses.asdict(rejection), "batch": batch, "seed": seed}
                file.write(json.dumps(row) + "\n")

    return record
