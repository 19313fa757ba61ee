"""The writers of a run: three that are always there, and those that the config names in `track`."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ssljax.core.config import resolve
from ssljax.core.types import Writer
from ssljax.runs.config import flatten
from ssljax.track import jsonl, progress, tensorboard


def make_writers(config: Mapping[str, Any], workdir: pathlib.Path, *, start: int,
                 unit: str) -> Sequence[Writer]:
    """Return the writers of a run; called on process 0 alone, the others write nothing.

    Args:
        config: the plain config of the run.
        workdir: where files go.
        start: step that the run continues from.
        unit: what the rate counts, "tokens" or "images".

    Raises:
        ConfigError: a writer of `track` cannot begin, a port in use for example.
        MissingExtraError: one needs a package that is absent.
    """
    total = config["total_steps"]
    # What can be refused comes first: the files of a run that cannot start stay as they are.
    writers = extra_writers(config.get("track", {}), workdir=workdir, settings=flatten(config),
                            total_steps=total, start=start, unit=unit)
    return (*writers, jsonl.make(workdir / "metrics.jsonl", start=start),
            tensorboard.make(workdir / "tensorboard"),
            progress.make(total, start=start, unit=unit))


def extra_writers(specs: Mapping[str, Any], **supplied: Any) -> list[Writer]:
    """Return the writers of `track`; where one cannot begin, those before it are closed."""
    writers: list[Writer] = []
    try:
        for label, spec in specs.items():
            writers.append(resolve("track", spec, where=f"track.{label}", **supplied))
    except Exception:
        for writer in writers:
            writer.close()
        raise
    return writers
