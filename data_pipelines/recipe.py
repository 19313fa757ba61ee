"""What curation is asked to do: a recipe's fields, checked before anything is read."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.content import read_by
from data_pipelines.listing import is_url, standard_library
from data_pipelines.routing import routed
from data_pipelines.table import Step
from data_pipelines.target import Target
from data_pipelines.targets import tokens
from ssljax.core.config import check_spec, resolve
from ssljax.core.errors import ConfigError, nearest
from ssljax.tokenizers import bpe

TOKENS: Mapping[str, Any] = {"name": "tokens"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The fields of a recipe file; data_pipelines/text.py explains each.

    steps:   dict(name=file of data_pipelines/steps, **arguments) in order; the first is the source
    options: step name -> more arguments, where the command line can reach them; use=False leaves
             the step out
    target:  dict(name=file of data_pipelines/targets, **arguments): what is written
    catalog: pyiceberg's properties of the catalog of versions; none: `catalog` beside the output

    The tokenizer's fields are those of the target "tokens".
    """

    name: str
    input: str = ""
    output: str
    licence: str = ""
    tokenizer: str = "bpe"
    vocab_size: int = 4096
    tokenizer_bytes: int = 64_000_000
    validation_fraction: float = 0.05
    shard_tokens: int = 16_777_216
    steps: Sequence[Mapping[str, Any]]
    options: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    target: Mapping[str, Any] = dataclasses.field(default_factory=lambda: dict(TOKENS))
    catalog: Mapping[str, str] = dataclasses.field(default_factory=dict)


def read_recipe(config: Mapping[str, Any]) -> Recipe:
    """Return the recipe of plain data, with the default input in its place.

    Raises:
        ConfigError: an unknown or missing field, or a value that cannot be.
    """
    check_spec("recipe", Recipe, config, {})
    recipe = used_steps(Recipe(**config))
    if not recipe.output or not recipe.name or not recipe.steps:
        raise ConfigError("recipe.output and recipe.name are a folder and a word, and recipe.steps "
                          "begins with a source; one is empty.")
    source = place_of(recipe)
    ours = source == os.path.abspath(standard_library())
    return dataclasses.replace(recipe, output=os.path.abspath(recipe.output), input=source,
                               licence=recipe.licence or ("PSF-2.0" if ours else "unknown"))


def used_steps(recipe: Recipe) -> Recipe:
    """Return the recipe without the steps whose arguments say `use=False`, and their options.

    Raises:
        ConfigError: another value of `use`.
    """
    steps, unused = [], set()
    options = {n: dict(given) for n, given in recipe.options.items()}
    for spec in map(dict, recipe.steps):
        name = str(spec.get("name", ""))
        own = spec.pop("use", True)
        use = options.get(name, {}).pop("use", own)
        if not isinstance(use, bool):
            raise ConfigError(f"{name}.use = {use!r}; expected True or False.")
        steps, unused = ([*steps, spec], unused) if use else (steps, {*unused, name})
    kept = {s.get("name") for s in steps}
    return dataclasses.replace(recipe, steps=steps, options={
        n: given for n, given in options.items() if n in kept or n not in unused})


def place_of(recipe: Recipe) -> str:
    """Return the input as an absolute path or a URL; files are of the standard library if unnamed.

    "" is the input of sources that have another argument for it.
    """
    if not recipe.input:
        read = recipe.steps[0].get("name") == "read_files"
        return os.path.abspath(standard_library()) if read else ""
    return recipe.input if is_url(recipe.input) else os.path.abspath(recipe.input)


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
    return [(name, resolve_step(recipe, name, {**spec, **recipe.options.get(name, {})}))
            for name, spec in zip(names, recipe.steps, strict=True)]


def resolve_step(recipe: Recipe, name: str, spec: dict[str, Any]) -> Step:
    """Return one step, for some rows only where its spec says so."""
    where = spec.pop("where", None)
    step = resolve("steps", spec, root="data_pipelines", input=recipe.input,
                   licence=recipe.licence, validation_fraction=recipe.validation_fraction)
    return step if where is None else routed(name, step, where)


def resolve_target(recipe: Recipe) -> Target:
    """Return what a recipe writes.

    Raises:
        ConfigError: an unknown target, or arguments it does not take.
    """
    return resolve("targets", recipe.target, root="data_pipelines", tokenizer=recipe.tokenizer,
                   vocab_size=recipe.vocab_size, tokenizer_bytes=recipe.tokenizer_bytes,
                   shard_tokens=recipe.shard_tokens)


def identity(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe without places: where it reads and writes does not change what it makes."""
    fields = dataclasses.asdict(recipe)
    del fields["input"], fields["output"], fields["catalog"]
    if recipe.tokenizer not in (tokens.TRAINED, tokens.BYTES):
        fields["tokenizer"] = bpe.make(path=recipe.tokenizer).fingerprint
    specs = [{**spec, **recipe.options.get(spec["name"], {})} for spec in recipe.steps]
    if any(found := [read_by(spec) for spec in specs]):
        fields["files"] = found
    return json.loads(json.dumps(fields))


def hash_plain(value: Any) -> str:
    """Return a hash of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
