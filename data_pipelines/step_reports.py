"""What steps measure of themselves on the documents that a recipe keeps, stored with the version.

A step's module may have `measure_recall(documents, **arguments of make) -> plain data`, as that of
decontamination has. It is handed the same documents whatever blocks and workers there were: the
first of the train split in the order of its hash. Returns {"step", ...} of each.
"""

import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.corpus import RecipeStep, step_key
from data_pipelines.engine.commit import code_version, stage_key
from data_pipelines.ordered import ordered
from data_pipelines.recipe import Recipe
from data_pipelines.target import Ordered
from ssljax.core.config import find_make

DOCUMENTS = 512                # handed to `measure_recall`


def step_reports(recipe: Recipe, given: Ordered, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the steps of a recipe measured.

    Args:
        recipe: its steps have run.
        given: the documents kept, in order.
        columns: of these documents; without "text" nothing is measured.
    """
    text, found = json.dumps(recipe.__dict__), []
    for index, spec in enumerate(recipe.steps):
        step = RecipeStep(text, index, spec["name"])
        if "text" not in columns or not hasattr(module_of(step.name), "measure_recall"):
            continue
        arguments = {**spec, **recipe.options.get(step.name, {})}
        del arguments["name"]
        key = stage_key("measure", code_version(), given.blocks.key, step_key(recipe, step, ""))
        [(_, told)] = given.engine.stage(key, "", [(measure, {
            "name": step.name, "arguments": arguments, "paths": given.files["train"],
            "partitions": given.partitions})])
        found.append({"step": step.name, **told})
    return found


def measure(folder: Path, *, name: str, arguments: Mapping[str, Any], paths: Sequence[str],
            partitions: int) -> dict[str, Any]:
    """Return what one step says of itself, as a task of the engine."""
    del folder
    documents = list(itertools.islice(texts(paths, partitions), DOCUMENTS))
    return module_of(name).measure_recall(documents, **arguments)


def texts(paths: Sequence[str], partitions: int) -> Iterator[str]:
    """Yield the texts of a split in their order."""
    for partition in range(partitions):
        for text in ordered(paths, partition)["text"]:
            yield text.as_py() or ""


def module_of(name: str) -> Any:
    """Return the module of a step."""
    return sys.modules[find_make("steps", name, root="data_pipelines").__module__]
