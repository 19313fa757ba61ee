"""A run's folder back to what it trained, for evaluation and export; reads only."""

import dataclasses
import json
import pathlib
from typing import Any

from etils import epath

from ssljax.core.errors import CheckpointError
from ssljax.core.types import Model, Objective, Params, Pretext, PyTree
from ssljax.optim.average import evaluation_params, has_evaluation_params
from ssljax.runs.build import build_method
from ssljax.runs.config import checkpoint_root
from ssljax.train.checkpoint import load_items, load_step, newest_sound
from ssljax.train.state import abstract_state


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a checkpoint holds, on this process's first device.

    config:   the plain config it was trained with
    step:     of the checkpoint
    manifest: the dataset's manifest.json as it is now, or None if it has none or is gone
    """

    path: pathlib.Path
    config: dict[str, Any]
    step: int
    model: Model
    objective: Objective
    pretext: Pretext
    params: Params
    extra: PyTree
    data: dict[str, Any]
    versions: dict[str, str]
    manifest: dict[str, Any] | None


def refuse_dotted_names(spec: Any, where: str) -> None:
    """Raise CheckpointError if a checkpoint's config names code outside ssljax.

    Only a user's own config may do that: a checkpoint can come from anywhere.
    """
    if isinstance(spec, dict):
        name = spec.get("name")
        if isinstance(name, str) and "." in name:
            raise CheckpointError(f'{where} names the module "{name}"; a checkpoint may only name '
                                  "plug-ins of ssljax itself.")
        for value in spec.values():
            refuse_dotted_names(value, where)


def read_manifest(config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the manifest.json of the dataset a config names, or None."""
    folder = config["source"].get("path")
    path = pathlib.Path(folder, "manifest.json") if folder else None
    return json.loads(path.read_text()) if path and path.is_file() else None


def load_run(path: str | pathlib.Path, step: int | None = None) -> Restored:
    """Return the parameters of a run's newest sound checkpoint, or of `step`.

    They are those that are judged and exported: the average, where the optimizer keeps one.

    Raises:
        CheckpointError: no run there, no such step, or it is damaged.
    """
    run = pathlib.Path(path).absolute()
    told = run / "config.json"
    root = epath.Path(checkpoint_root(run, json.loads(told.read_text()) if told.is_file() else {}))
    if not root.is_dir():
        raise CheckpointError(f"{path} is not a run: it has no checkpoints/. Give the --workdir of "
                              "`ssljax pretrain`.")
    number, problems = newest_sound(root, step=step)
    for problem in problems:
        print(f"Warning: {problem}; using step {number}.", flush=True)
    if number is None:
        raise CheckpointError(f"{path} has no checkpoint that can be read; train it first.")
    config = load_items(root / str(number))["config"]
    refuse_dotted_names(config, f"{path} step {number}")
    method = build_method(config)
    wanted = abstract_state(method.init, method.key, None)
    # Optimizer state is twice the weights, and read only where it holds those that are judged.
    averages = has_evaluation_params(wanted.opt_state)
    state, items = load_step(root / str(number), wanted, skip=() if averages else ("opt_state",))
    params = evaluation_params(state.opt_state, state.params) if averages else state.params
    return Restored(run, config, number, method.model, method.objective, method.pretext,
                    params, state.extra, items["data"], items["versions"], read_manifest(config))
