"""Judge a checkpoint of any run with the evaluators of its config, text beside byte baselines.

Reads a run's folder; returns the judgement and keeps it in evaluation.json there, one entry a step:

    {"latest": 1200,
     "steps": {"1200": {"step", "seconds", "evals": {label: {name: {"value", "low", "high"}}},
                        "against": {label: {baseline: {"bits_per_byte", "percent"}}}}},
     "baselines": {label: what runs.baselines.measure returns}}
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from absl import logging

from ssljax.core.config import resolve
from ssljax.core.errors import ConfigError
from ssljax.core.files import write_json
from ssljax.core.source import Source
from ssljax.core.types import Judgement
from ssljax.runs import baselines
from ssljax.runs.build import cache_folder, load_source
from ssljax.runs.compare import against
from ssljax.runs.evaluators import build_evaluators
from ssljax.runs.restore import Restored, load_run

NAME = "evaluation.json"


def evaluate(run_dir: str | Path, *, step: int | None = None) -> dict[str, Any]:
    """Judge one checkpoint and write evaluation.json beside the checkpoints.

    Args:
        run_dir: the folder a run was trained in.
        step: which checkpoint; the newest sound one unless told.

    Returns:
        The entry of this step, with "run" and the "baselines" by label.

    Raises:
        ConfigError: the run's config has no evaluators, or one cannot be built.
        CheckpointError: there is no such checkpoint, or it is damaged.
        DataError: the held-out data is missing or damaged.
    """
    began = time.perf_counter()
    run = load_run(run_dir, step=step)
    specs = run.config.get("evals") or {}
    if not specs:
        raise ConfigError(f"The config of {run_dir} has no evals; add for example evals.text = "
                          'dict(name="bits_per_byte", source=..., seq_len=...).')
    store = read(run_dir)
    judged = {label: as_data(evaluator.run(run.params, run.extra))
              for label, evaluator in build_evaluators(run.config, run).items()}
    text = {label: spec for label, spec in specs.items() if spec["name"] == "bits_per_byte"}
    train = load_source(run.config) if text else None
    # Ids of a stream or a column may have no text to count: then there are no baselines.
    known = {label: measured(run, train, spec, store["baselines"].get(label))
             for label, spec in text.items() if hasattr(train, "text_bytes")}
    entry = {"step": run.step, "seconds": time.perf_counter() - began, "evals": judged,
             "against": {label: compared(judged[label], base) for label, base in known.items()}}
    store["baselines"] |= known
    store["steps"][str(run.step)] = entry
    store["latest"] = max(map(int, store["steps"]))
    if jax.process_index() == 0:
        write_json(Path(run_dir) / NAME, store)
    return {"run": str(run_dir), **entry, "baselines": known}


def read(run_dir: str | Path) -> dict[str, Any]:
    """Return a run's evaluation.json; an empty one where there is none or it is damaged."""
    path = Path(run_dir) / NAME
    empty: dict[str, Any] = {"latest": None, "steps": {}, "baselines": {}}
    try:
        found = json.loads(path.read_text("utf-8"))
        return {name: found[name] for name in empty}
    except FileNotFoundError:
        return empty
    except (ValueError, KeyError, TypeError) as err:
        logging.warning("%s is damaged (%s); writing it anew.", path, err)
        return empty


def as_data(judgement: Judgement) -> dict[str, dict[str, float | None]]:
    """Return a judgement as JSON can hold it: null for what could not be told."""
    def plain(x: float) -> float | None:
        return float(x) if math.isfinite(x) else None

    return {name: {"value": plain(value), "low": plain(low), "high": plain(high)}
            for name, (value, (low, high)) in judgement.items()}


def measured(run: Restored, train: Source, spec: Mapping[str, Any],
             known: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the baselines of a text evaluator; `known` again where the data is still the same."""
    held_out = resolve("sources", spec["source"], where="evals.source",
                       cache=cache_folder(run.config))
    documents = spec.get("documents", 0)
    if known and known.get("key") == baselines.key(train, held_out, documents=documents):
        return known
    return baselines.measure(train, held_out, documents=documents)


def compared(judged: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return by how much the model beats each baseline."""
    return {name: against(judged["bits_per_byte"]["value"], value)
            for name, value in baselines.figures(base).items()}
