"""The steps of a recipe as a version remembers them: name, version, every parameter.

Parameters are those of `make` with their defaults filled in, so that a constant that changes later
is still known. A step's version is a hash of its own file; the package's is the property CODE.
Reads a recipe's identity (data_pipelines/recipe.py); returns plain data.
"""

import functools
import hashlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssljax.core.config import find_make

PLACES = ("input", "output")   # where a recipe reads and writes does not change what it makes


def describe_steps(recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return {"name", "version", "parameters"} of each step, in order."""
    return [{"name": spec["name"], "version": step_version(spec["name"]),
             "parameters": parameters(recipe, spec)} for spec in recipe["steps"]]


def parameters(recipe: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a step was made with: its defaults, the recipe's fields and options over them."""
    wanted = inspect.signature(find_make("steps", spec["name"], root="data_pipelines")).parameters
    defaults = {n: p.default for n, p in wanted.items() if p.default is not p.empty}
    given = {n: v for n, v in recipe.items() if n in wanted}
    own = {n: v for n, v in spec.items() if n != "name"}
    made = {**defaults, **given, **own, **recipe["options"].get(spec["name"], {})}
    return {n: json.loads(json.dumps(v, default=str)) for n, v in made.items() if n not in PLACES}


@functools.lru_cache(maxsize=256)
def step_version(name: str) -> str:
    """Return a hash of the file that defines a step, 12 hexadecimal digits."""
    path = inspect.getfile(find_make("steps", name, root="data_pipelines"))
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
