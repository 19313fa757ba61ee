"""What curation is asked to do: a recipe's fields, checked before anything is read."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.listing import standard_library
from data_pipelines.table import Step
from ssljax.core.config import check_spec, resolve
from ssljax.core.errors import ConfigError, nearest
from ssljax.tokenizers import bpe

TRAINED, BYTES = "bpe", "byte"          # tokenizers that are not the path of one


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The fields of a recipe file; data_pipelines/text.py explains each.

    steps:   dict(name=file of data_pipelines/steps, **arguments) in order
    options: step name -> more arguments, where the command line can reach them
    catalog: pyiceberg's properties of the catalog of versions; none: `catalog` beside the output
    """

    name: str
    input: str = ""
    output: str
    licence: str = ""
    tokenizer: str = TRAINED
    vocab_size: int = 4096
    tokenizer_bytes: int = 64_000_000
    validation_fraction: float = 0.05
    shard_tokens: int = 16_777_216
    steps: Sequence[Mapping[str, Any]]
    options: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    catalog: Mapping[str, str] = dataclasses.field(default_factory=dict)


def read_recipe(config: Mapping[str, Any]) -> Recipe:
    """Return the recipe of plain data, with the default input in its place.

    Raises:
        ConfigError: an unknown or missing field, or a value that cannot be.
    """
    check_spec("recipe", Recipe, config, {})
    recipe = Recipe(**config)
    for field, least in (("shard_tokens", 1), ("tokenizer_bytes", 1), ("vocab_size", bpe.SMALLEST)):
        if getattr(recipe, field) < least:
            raise ConfigError(f"recipe.{field} = {getattr(recipe, field)}; expected at least "
                              f"{least}.")
    if not recipe.output or not recipe.name:
        raise ConfigError("recipe.output and recipe.name are a folder and a word; one is empty.")
    library = os.path.abspath(standard_library())
    source = os.path.abspath(recipe.input) if recipe.input else library
    return dataclasses.replace(
        recipe, output=os.path.abspath(recipe.output), input=source,
        licence=recipe.licence or ("PSF-2.0" if source == library else "unknown"))


def resolve_steps(recipe: Recipe) -> list[tuple[str, Step]]:
    """Return (name, step) of each step of a recipe.

    Raises:
        ConfigError: an unknown step, or arguments it does not take.
    """
    names = [str(spec.get("name", "")) for spec in recipe.steps]
    for name in recipe.options:
        if name not in names:
            raise ConfigError(f'recipe.options has "{name}", which is no step of the recipe; '
                              f"{nearest(name, names)}")
    return [(name, resolve("steps", {**spec, **recipe.options.get(name, {})},
                           root="data_pipelines", input=recipe.input, licence=recipe.licence,
                           validation_fraction=recipe.validation_fraction))
            for name, spec in zip(names, recipe.steps, strict=True)]


def identity(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe without places: where it reads and writes does not change what it makes."""
    fields = dataclasses.asdict(recipe)
    del fields["input"], fields["output"], fields["catalog"]
    if recipe.tokenizer not in (TRAINED, BYTES):
        fields["tokenizer"] = bpe.make(path=recipe.tokenizer).fingerprint
    return json.loads(json.dumps(fields))


def hash_plain(value: Any) -> str:
    """Return a hash of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
