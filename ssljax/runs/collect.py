"""Gather the figures of a workdir from what its stages wrote; what is absent stays None.

    <workdir>/data/manifest.json       documents, licences, versions of the data
    <workdir>/run/config.json          the resolved config of the training run
    <workdir>/run/metrics.jsonl        loss and throughput
    <workdir>/run/evaluation.json      the newest judgement and the baselines
    <workdir>/artefact/manifest.json   what was exported
    <workdir>/serve.json               of runs.measure_server.measure: latency, rates, samples
    <workdir>/stages.json              {stage: {"seconds", "command"}}

Reads these; returns nested plain data.
"""

import datetime
import importlib.metadata
import json
import math
import platform
import re
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax.core.errors import DataError
from ssljax.core.files import read_json_lines
from ssljax.runs.compare import BASELINES, against

STEPS = re.compile(r"(--config\.total_steps=)(\d+)")
PACKAGES = ("ssljax", "jax", "flax", "optax", "orbax-checkpoint", "grain", "tokenizers", "numpy")


def collect(workdir: str | Path) -> dict[str, Any]:
    """Return the figures that the stages of `workdir` left, see the module's text.

    Raises:
        DataError: there is no such folder, it holds nothing of a run, or a file is damaged.
    """
    work = Path(workdir)
    if not work.is_dir():
        raise DataError(f"{work} is not a folder; give the workdir of `ssljax quickstart`.")
    rows = read_json_lines(work / "run" / "metrics.jsonl")
    data = load(work / "data" / "manifest.json", {})
    config = load(work / "run" / "config.json", {})
    store = load(work / "run" / "evaluation.json", {})
    artefact = load(work / "artefact" / "manifest.json", {})
    stages = load(work / "stages.json", {})
    served = dict(load(work / "serve.json", {}))
    if not any((rows, data, config, store, artefact, served)):
        raise DataError(f"{work} holds no data/, run/ or artefact/ of a run; give the workdir of "
                        "`ssljax quickstart`, or run it first.")
    figures = {
        "documents": documents(data), "data": dataset(data), "train": training(rows, config),
        "export": export(artefact), "samples": served.pop("samples", []), "serve": served,
        "curve": curve(rows), "evals": judgements(store),
        "seconds": seconds(stages),
        "commands": commands(work, stages.get("pretrain", {}).get("command", "")),
        "versions": versions(),
        "written": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")}
    return {**figures, **evaluation(store)}


def load(path: Path, absent: Any) -> Any:
    """Return the JSON in a file; `absent` where there is none.

    Raises:
        DataError: it is not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return absent
    except (OSError, ValueError) as err:
        raise DataError(f"{path} cannot be read ({err}); run the stage that writes it again."
                        ) from err


def pick(source: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the named values of a mapping, None for absent ones."""
    return {name: source.get(name) for name in names}


def documents(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many documents were read, kept, and dropped by reason."""
    return pick(manifest, ("read", "kept", "dropped"))


def dataset(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the curated data is."""
    return pick(manifest, ("name", "version", "vocab_size", "splits", "licences", "created_by"))


def training(rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of training; the rate is the median of those logged."""
    logged = [row for row in rows if "loss" in row]
    last = logged[-1] if logged else {}
    steps = last.get("step")
    rates = [row["tokens_per_second"] for row in logged if row.get("tokens_per_second")]
    per_step = config["batch_size"] * config["seq_len"] if "seq_len" in config else None
    return {"steps": steps, "tokens": steps * per_step if steps and per_step else None,
            "final_loss": last.get("loss"), "rejected": last.get("rejected"),
            "tokens_per_second": statistics.median(rates) if rates else None}


def curve(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the logged steps: loss, rate, and held-out bits per byte where they were judged."""
    kept = []
    for row in rows:
        point = {name: row[name] for name in ("step", "loss", "tokens_per_second") if name in row}
        judged = [v for name, v in row.items() if name.endswith("/bits_per_byte")]
        point |= {"bits_per_byte": judged[0]} if judged else {}
        if len(point) > 1:
            kept.append(point)
    return kept


def newest(store: Mapping[str, Any]) -> dict[str, Any]:
    """Return the judgement of the latest step in evaluation.json, {} without one."""
    return store.get("steps", {}).get(str(store.get("latest")), {})


def evaluation(store: Mapping[str, Any]) -> dict[str, Any]:
    """Return eval, baseline and against of the text evaluator; None for what was not judged."""
    entry = newest(store)
    label = next((n for n, judged in entry.get("evals", {}).items() if "bits_per_byte" in judged),
                 None)
    judged = entry["evals"][label] if label else {}
    base = store.get("baselines", {}).get(label, {})
    model = judged.get("bits_per_byte", {})
    values = {name: base.get(name, {}).get("value") for name in BASELINES}
    saved = {name: against(model["value"], value) for name, value in values.items()
             if value and model.get("value")}
    details = {name: figure["value"] for name, figure in judged.items() if name != "bits_per_byte"}
    return {
        "eval": {"bits_per_byte": model.get("value"), "low": model.get("low"),
                 "high": model.get("high"), "step": entry.get("step"), **details},
        "baseline": {**{f"{name}_bits_per_byte": value for name, value in values.items()},
                     **pick(base, ("train_bytes", "train_bytes_available"))},
        "against": saved}


def judgements(store: Mapping[str, Any]) -> dict[str, Any]:
    """Return what other evaluators than bits per byte said: label -> name -> figure."""
    return {label: judged for label, judged in newest(store).get("evals", {}).items()
            if "bits_per_byte" not in judged}


def export(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the size of the artefact's files and where it runs."""
    sizes = [file["bytes"] for file in manifest.get("files", {}).values()]
    return {"bytes": sum(sizes) if sizes else None, **pick(manifest, ("platforms", "kind"))}


def seconds(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the seconds of every stage that took any."""
    return {name: stage["seconds"] for name, stage in stages.items() if stage.get("seconds")}


def commands(work: Path, trained: str) -> list[dict[str, str]]:
    """Return what to run next in a workdir; `trained` is the command that trained it, or empty."""
    run, artefact = (shlex.quote(str(work / name)) for name in ("run", "artefact"))
    longer = {"why": "Train it twice as long, from where it is", "command": doubled(trained)}
    return [
        {"why": "Ask the model", "command": f'ssljax generate {artefact} --prompt "def main("'},
        {"why": "Serve it on this machine", "command": f"ssljax serve {artefact}"},
        {"why": "Judge the newest checkpoint again", "command": f"ssljax evaluate {run}"},
        *([longer] if longer["command"] else []),
        {"why": "The same journey on your own files",
         "command": "ssljax quickstart --input YOUR_FOLDER --workdir YOUR_WORKDIR"}]


def doubled(trained: str) -> str:
    """Return a training command with twice the steps, one override a line; empty without steps."""
    command, found = STEPS.subn(lambda m: f"{m[1]}{2 * int(m[2])}", trained)
    return command.replace(" --config.", " \\\n    --config.") if found else ""


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed here."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def plain(value: Any) -> Any:
    """Return data as JSON can hold it: null for nan and infinities."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
