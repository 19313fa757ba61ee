"""Logged metrics of several runs as curves over steps, tokens or seconds. Free of jax."""

import fnmatch
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ssljax.core.errors import ConfigError, DataError, nearest
from ssljax.core.files import read_json_lines
from ssljax.runs.listing import find_runs, is_run, read_config
from ssljax.track.names import BY_BLOCK, BY_DEVICE, BY_REASON

Points = list[tuple[float, float]]
AXES = ("step", "tokens", "seconds")
# Drawn unless others are asked for, as far as they were logged, after every evaluation's figures.
USUAL = ("grad_norm", "learning_rate", "tokens_per_second", "images_per_second", "mfu")


class Logged(NamedTuple):
    """What a run left: its name among those compared, folder, config, metrics and ledger lines."""

    label: str
    folder: pathlib.Path
    config: Mapping[str, Any]
    rows: Sequence[Mapping[str, float]]
    ledger: Sequence[Mapping[str, Any]]


def load_runs(folders: Sequence[pathlib.Path]) -> list[Logged]:
    """Return the logs of run folders, each once, in the order given.

    Raises:
        DataError: a folder is not a run, or nothing was logged in it.
    """
    unique = list({folder.absolute(): folder for folder in folders}.values())
    runs = []
    for label, folder in zip(labels(unique), unique, strict=True):
        check_folder(folder)
        rows = read_json_lines(folder / "metrics.jsonl")
        if not rows:
            raise DataError(f"{folder / 'metrics.jsonl'} has no line yet; nothing can be drawn. "
                            "The first comes after config.log_steps steps.")
        runs.append(Logged(label, folder, read_config(folder), rows,
                           read_json_lines(folder / "ledger.jsonl")))
    return runs


def check_folder(folder: pathlib.Path) -> None:
    """Raise DataError unless a folder is a run; name the run beside it that may be meant."""
    if is_run(folder):
        return
    # The runs beside the path, or below the nearest folder above it that exists.
    home = next(p for p in folder.absolute().parents if p.is_dir())
    known = [os.path.relpath(p) if not folder.is_absolute() else str(p) for p in find_runs(home)]
    raise DataError(f"{folder} is not a run folder; {nearest(str(folder), known)}")


def labels(folders: Sequence[pathlib.Path]) -> list[str]:
    """Return what tells folders apart: their paths without the part that all share."""
    if len(folders) == 1:
        return [folders[0].absolute().name]
    shared = os.path.commonpath([f.absolute() for f in folders])
    names = [os.path.relpath(f.absolute(), shared) for f in folders]
    return [pathlib.Path(shared).name if name == "." else name for name in names]


def choose_metrics(runs: Sequence[Logged], wanted: Sequence[str]) -> list[str]:
    """Return the metrics to draw: those that `wanted` names or matches (grad_norm/*), or the usual.

    Raises:
        ConfigError: no run logged a wanted one.
    """
    known = list(dict.fromkeys(name for run in runs for row in run.rows for name in row
                               if name != "step"))
    chosen = []
    for pattern in wanted:
        found = fnmatch.filter(known, pattern)
        if not found:
            raise ConfigError(f'No run logged "{pattern}"; {nearest(pattern, known)}')
        chosen += found
    if not wanted:
        parts = {*BY_BLOCK, *BY_DEVICE, *BY_REASON}
        judged = [n for n in known if "/" in n and n.partition("/")[0] not in parts]
        chosen = [n for n in ("loss", *judged, *USUAL) if n in known]
    return list(dict.fromkeys(chosen))


def curve(run: Logged, metric: str, axis: str) -> Points:
    """Return the finite (x, value) of a metric, x ascending; [] where the run did not log it.

    Raises:
        ConfigError: the run has no such x.
    """
    xs = places(run, axis)
    return [(x, row[metric]) for x, row in zip(xs, run.rows, strict=True)
            if row.get(metric) is not None and math.isfinite(row[metric])]


def places(run: Logged, axis: str) -> list[float]:
    """Return where each logged row lies on an axis.

    Raises:
        ConfigError: tokens of a run whose examples have no length.
    """
    if axis == "seconds":
        return elapsed(run.rows)
    if axis == "step":
        return [row["step"] for row in run.rows]
    length = run.config.get("seq_len") or run.config.get("pretext", {}).get("seq_len")
    if not length:
        raise ConfigError(f"{run.folder} was not trained on tokens: its config has no seq_len; "
                          "use --x step or --x seconds.")
    return [row["step"] * run.config["batch_size"] * length for row in run.rows]


def elapsed(rows: Sequence[Mapping[str, float]]) -> list[float]:
    """Return the seconds of training at each row.

    Every attempt of a run counts from its own start; they are put end to end. Rows without a time
    (evaluations) have that of the row before.
    """
    out, before, last = [], 0.0, 0.0
    for row in rows:
        now = row.get("seconds", last)
        before += last if now < last else 0.0
        last = now
        out.append(before + now)
    return out


def smooth(points: Points, weight: float) -> Points:
    """Return an exponential moving average without the pull towards zero at its start.

    The bias correction is Adam's, https://arxiv.org/abs/1412.6980, section 3.

    Args:
        points: (x, value).
        weight: of the past, 0 (as it is) to below 1.
    """
    out, mean = [], 0.0
    for i, (x, value) in enumerate(points, 1):
        mean = weight * mean + (1 - weight) * value
        out.append((x, mean / (1 - weight**i)))
    return out


def differences(flat: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return key -> its value in each flat config, for keys that differ; None where absent."""
    keys = sorted({key for config in flat for key in config})
    values = {key: [config.get(key) for config in flat] for key in keys}
    return {key: found for key, found in values.items() if any(v != found[0] for v in found)}
