"""What a command line or a file says is to be served: models, versions and adapters by name."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ssljax.core.errors import ServeError


class NamedAdapter(NamedTuple):
    """An adapter to load: its folder, what clients call it, and its base ("" for the only one)."""

    path: Path
    name: str
    version: str = "1"
    base: str = ""


class Named(NamedTuple):
    """A model to load: its folder, and what clients call it ("" takes the artefact's name)."""

    path: Path
    name: str = ""
    version: str = "1"
    weight: float | None = None


def read_models(arguments: Sequence[str], file: Path | None) -> list[Named]:
    """Return the models of a command line, `NAME@VERSION=FOLDER` or `FOLDER`, and of a TOML file.

    Raises:
        ServeError: nothing is named, or the file is not as it should be.
    """
    found = [one_model(argument) for argument in arguments]
    if file is not None:
        try:
            rows = tomllib.loads(file.read_text())["model"]
            found += [Named(Path(row.pop("artefact")), **row) for row in rows]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            raise ServeError(f"{file} names no models ({err!r}); expected tables [[model]] with "
                             "artefact, and name, version and weight as wanted.") from err
    if not found:
        raise ServeError("No model is named; give ARTEFACT, NAME=ARTEFACT, or --models FILE.")
    return found


def one_model(argument: str) -> Named:
    """Return the model that an argument names."""
    label, given, folder = argument.partition("=")
    if not given or "/" in label:
        return Named(Path(argument))
    name, _, version = label.partition("@")
    return Named(Path(folder), name, version or "1")


def one_adapter(argument: str) -> NamedAdapter:
    """Return the adapter that an argument names: `NAME[@VERSION][:BASE]=FOLDER`.

    Raises:
        ServeError: a name or the folder is missing.
    """
    label, _, folder = argument.partition("=")
    label, _, base = label.partition(":")
    name, _, version = label.partition("@")
    if not name or not folder:
        raise ServeError(f'--adapter "{argument}" is not NAME=FOLDER, or NAME:BASE=FOLDER where '
                         "several models have room for adapters.")
    return NamedAdapter(Path(folder), name, version or "1", base)
