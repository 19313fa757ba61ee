"""The evaluators of a run's config, handed what they need of it and of other runs."""

from collections.abc import Mapping
from typing import Any

from ssljax.core.config import resolve
from ssljax.core.types import Evaluator
from ssljax.evals.feature_distance import Encoder
from ssljax.runs.build import Method, cache_folder
from ssljax.runs.restore import Restored, load_run


def build_evaluators(config: Mapping[str, Any], built: Method | Restored) -> dict[str, Evaluator]:
    """Return label -> evaluator of a plain config, for a run under way or one read back."""
    pretext = built.pretext
    return {label: resolve("evals", spec, built.objective, where=f"evals.{label}",
                           model=built.model, pretext=pretext, plain=pretext.plain,
                           example=pretext.example, views=pretext.views,
                           load_encoder=load_encoder, cache=cache_folder(config))
            for label, spec in config.get("evals", {}).items()}


def load_encoder(path: str) -> Encoder:
    """Return the evaluation encoder of the newest checkpoint in a run's folder.

    Raises:
        CheckpointError: no run there, or it is damaged.
    """
    run = load_run(path)
    return Encoder(run.model, *run.objective.encoder(run.params, run.extra), run.pretext.plain)
