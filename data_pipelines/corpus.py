"""A recipe's steps as stages of the engine: source, row-wise passes, grouped rounds.

Reads a listing; returns the blocks of its documents, judged. A step's kind is what its module and
its `make` say (engine/plan.py).
"""

import functools
import itertools
import json
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from data_pipelines.content import read_by
from data_pipelines.engine.blocks import Blocks
from data_pipelines.engine.commit import code_version, stage_key
from data_pipelines.engine.engine import Engine
from data_pipelines.engine.plan import Fitted, Grouped, Step
from data_pipelines.recipe import Recipe, identity, read_recipe, resolve_steps
from ssljax.core.config import find_make

FILES = 1000                   # most files of a reading task


class RecipeStep(NamedTuple):
    """A step as it travels to workers: its recipe as JSON, and its place in it."""

    recipe: str
    index: int
    name: str

    def resolve(self) -> Step:
        """Return the step, made once in each process."""
        return steps_of(self.recipe)[self.index]


@functools.lru_cache(maxsize=2)
def steps_of(recipe: str) -> list[Step]:
    """Return the steps of a recipe given as JSON."""
    return [step for _, step in resolve_steps(read_recipe(json.loads(recipe)))]


def make_corpus(recipe: Recipe, files: pa.Table, engine: Engine, group_bytes: int) -> Blocks:
    """Read a listing's files and run every step of a recipe.

    Args:
        recipe: its first step is the source.
        files: source, size and mtime_ns of each.
        engine: runs the stages.
        group_bytes: of files that one task reads.
    """
    steps_of.cache_clear()         # a model or list that a step read may have changed since
    text = json.dumps(recipe.__dict__)
    source, *steps = [RecipeStep(text, i, s["name"]) for i, s in enumerate(recipe.steps)]
    key = stage_key(code_version(), identity(recipe)["licence"])
    blocks = engine.read(source, list(groups(files, group_bytes)), step_key(recipe, source, key))
    waiting: list[RecipeStep] = []
    for step in steps:
        if is_rowwise(step.name):
            waiting.append(step)
            continue
        blocks, waiting = passed(recipe, blocks, waiting, engine), []
        resolved = isinstance(step.resolve(), Grouped)
        run = engine.grouped if resolved else engine.whole
        blocks = run(blocks, step, step_key(recipe, step, key))
    return passed(recipe, blocks, waiting, engine)


def stages(recipe: Recipe) -> list[str]:
    """Return the names under which `make_corpus` reports its stages, in order."""
    source, *steps = [str(spec["name"]) for spec in recipe.steps]
    found = [source]
    for rowwise, some in itertools.groupby(steps, is_rowwise):
        run = list(some)
        found += [", ".join(run)] if rowwise else run
    return found


def passed(recipe: Recipe, blocks: Blocks, steps: list[RecipeStep], engine: Engine) -> Blocks:
    """Return the blocks after a run of row-wise steps, the same where there are none."""
    if not steps:
        return blocks
    key = stage_key([step_key(recipe, step, "") for step in steps])
    return engine.rowwise(blocks, steps, key)


def step_key(recipe: Recipe, step: RecipeStep, key: str) -> str:
    """Return the key of a step: its arguments, its files, and what every step is supplied with."""
    spec = dict(recipe.steps[step.index]) | dict(recipe.options.get(step.name, {}))
    made = step.resolve()
    if isinstance(made, Fitted):
        made.load()
    return stage_key(key, spec, read_by(spec, ("READS", "FITS")), recipe.input, recipe.licence,
                     recipe.validation_fraction)


def is_rowwise(name: str) -> bool:
    """Say whether a step judges each row alone."""
    module = sys.modules[find_make("steps", name, root="data_pipelines").__module__]
    return getattr(module, "ROWWISE", False)


def groups(files: pa.Table, size: int) -> Iterator[pa.Table]:
    """Yield the listed files in groups of about `size` bytes, at most FILES each."""
    before = np.cumsum(np.maximum(0, files["size"].to_numpy()))
    group = before // size + np.arange(len(before)) // FILES
    ends = [*(np.flatnonzero(np.diff(group)) + 1).tolist(), files.num_rows]
    start = 0
    for stop in ends:
        yield files.slice(start, stop - start)
        start = stop
