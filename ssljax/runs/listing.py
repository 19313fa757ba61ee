"""Runs below a folder and how each is doing, told from what it left there alone. Free of jax.

    config.json      what is trained
    ledger.jsonl     where every second went, a line at least every ten; the last one is the state
    metrics.jsonl    loss, rate, MFU
    checkpoints/     a folder a finished step

A run whose machine went away cannot say so: "died" is a state that claims to run, too long ago.
"""

import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ssljax.core.errors import DataError
from ssljax.core.files import read_json_lines
from ssljax.train.ledger import total_seconds

STALE_S = 60.0             # a ledger's line is written every ten seconds at most
TAIL_BYTES = 1 << 16       # of metrics.jsonl: the newest lines are at its end
ACTIVE = ("starting", "running")


class Run(NamedTuple):
    """A run folder in figures; None for what is not known.

    path:       the folder
    method:     "model objective", by their file names
    state:      starting, running, finished, interrupted, failed, died; stopped without a ledger
    step:       the last step done
    total:      the run's last step
    loss:       newest logged
    rate:       newest logged, `unit` a second
    unit:       "tokens" or "images"
    mfu:        newest logged, fraction
    goodput:    fraction of the wall time, restarts included
    checkpoint: the newest step that can be continued from
    active:     when it last did something, Unix seconds
    bytes:      of all its files
    """

    path: pathlib.Path
    method: str
    state: str
    step: int | None
    total: int | None
    loss: float | None
    rate: float | None
    unit: str | None
    mfu: float | None
    goodput: float | None
    checkpoint: int | None
    active: float
    bytes: int


def is_run(folder: pathlib.Path) -> bool:
    """Say whether a folder was trained in."""
    return (folder / "config.json").is_file() and any(
        (folder / name).exists() for name in ("checkpoints", "ledger.jsonl", "metrics.jsonl"))


def find_runs(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield the run folders at or below `root`; hidden folders and those of runs are not entered.

    Raises:
        DataError: there is no such folder.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give one that has run folders below it.")
    for folder, inside, _ in os.walk(root):
        if is_run(pathlib.Path(folder)):
            inside.clear()
            yield pathlib.Path(folder)
        inside[:] = sorted(name for name in inside if not name.startswith("."))


def list_runs(roots: Sequence[pathlib.Path]) -> list[Run]:
    """Return the runs below some folders, the one that was active last first.

    Raises:
        DataError: a root is not a folder, or a config cannot be read.
    """
    folders = {path.absolute(): path for root in roots for path in find_runs(root)}
    return sorted(map(read_run, folders.values()), key=lambda run: -run.active)


def read_run(folder: pathlib.Path, *, now: float | None = None) -> Run:
    """Return the figures of a run folder; `now` in Unix seconds is the present unless given.

    Raises:
        DataError: its config cannot be read.
    """
    now = time.time() if now is None else now
    config, ledger = read_config(folder), read_json_lines(folder / "ledger.jsonl")
    logged, checkpoint = newest_metrics(folder / "metrics.jsonl"), newest_checkpoint(folder)
    last = ledger[-1] if ledger else {}
    total = last.get("total", config.get("total_steps"))
    steps = [s for s in (last.get("step"), logged.get("step"), checkpoint) if s is not None]
    active = max((last.get("time", 0.0), *map(touched, (
        folder / "config.json", folder / "metrics.jsonl", folder / "checkpoints"))))
    step = last["step"] if last.get("step") else max(steps, default=None)
    unit = next((u for u in ("tokens", "images") if f"{u}_per_second" in logged), None)
    return Run(
        folder, " ".join(str(config.get(k, {}).get("name", "?")) for k in ("model", "objective")),
        state_of(last, now) if last else state_without_ledger(step, total, now - active),
        step, total, logged.get("loss"), logged.get(f"{unit}_per_second"), unit, logged.get("mfu"),
        goodput(ledger) if ledger else logged.get("goodput"), checkpoint, active, size_of(folder))


def read_config(folder: pathlib.Path) -> Mapping[str, Any]:
    """Return the config of a run folder.

    Raises:
        DataError: it is absent or damaged.
    """
    try:
        return json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as err:
        raise DataError(f"{folder / 'config.json'} cannot be read ({err}); it is written when a "
                        "run begins and never changed: put it back, or remove the folder.") from err


def newest_metrics(path: pathlib.Path) -> dict[str, float]:
    """Return the newest value of each metric, from the last lines of a file of any length."""
    newest: dict[str, float] = {}
    if not path.is_file():
        return newest
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        for line in file.read().splitlines():
            try:
                newest |= json.loads(line)
            except ValueError:                # the cut first line, or one that a crash cut
                continue
    return newest


def newest_checkpoint(folder: pathlib.Path) -> int | None:
    """Return the newest finished step in checkpoints/."""
    found = folder / "checkpoints"
    steps = [int(p.name) for p in found.iterdir() if p.name.isdigit()] if found.is_dir() else []
    return max(steps, default=None)


def touched(path: pathlib.Path) -> float:
    """Return when a file or folder changed, Unix seconds; 0 where there is none."""
    return path.stat().st_mtime if path.exists() else 0.0


def size_of(folder: pathlib.Path) -> int:
    """Return the bytes of all files of a folder; those that vanish meanwhile count nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:          # a checkpoint that is being replaced
                continue
    return total


def goodput(ledger: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the fraction of wall time in steps that count, over all attempts."""
    seconds = total_seconds(list(ledger))
    return seconds["step"] / sum(seconds.values()) if sum(seconds.values()) else None


def state_of(last: Mapping[str, Any], now: float) -> str:
    """Return the state that a ledger's last line tells, or "died" if nobody stands behind it."""
    if last["state"] not in ACTIVE or now - last["time"] < STALE_S or is_alive(last):
        return last["state"]
    return "died"


def is_alive(last: Mapping[str, Any]) -> bool:
    """Say whether the process that wrote a line still runs, as far as this host can tell."""
    if last["host"] != socket.gethostname():
        return False
    try:
        os.kill(last["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:                    # alive, another user's
        pass
    began = process_began(last["pid"])
    return began is None or began <= last["time"]          # else the number was given out again


def process_began(pid: int) -> float | None:
    """Return when a process began, Unix seconds; None where the system has no /proc."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = next(line for line in pathlib.Path("/proc/stat").read_text().splitlines()
                    if line.startswith("btime"))
    except OSError:
        return None
    return int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def state_without_ledger(step: int | None, total: int | None, idle: float) -> str:
    """Return the state of a run that keeps no ledger: what its files allow to say."""
    if step is not None and total is not None and step >= total:
        return "finished"
    return "running" if idle < STALE_S else "stopped"


def as_json(run: Run) -> dict[str, Any]:
    """Return a run as JSON holds it."""
    return {**run._asdict(), "path": str(run.path)}
