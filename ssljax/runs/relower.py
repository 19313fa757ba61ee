"""Make the programs of an artefact anew from its recipe: weights, and the config of its network."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax.core.config import resolve
from ssljax.core.errors import ArtefactError, CheckpointError, ConfigError
from ssljax.export.artefact import SIGNATURE, write_folder, written_by
from ssljax.export.recipe import lower, stored_shapes
from ssljax.export.stablehlo import Program
from ssljax.runs.restore import refuse_dotted_names
from ssljax.serve.artefact import load_functions
from ssljax.serve.golden import read_golden
from ssljax.serve.manifest import MANIFEST, check_files, listed, read_listed, read_manifest
from ssljax.serve.weights import load_weights


def lower_again(path: Path, manifest: Mapping[str, Any]) -> dict[str, Program]:
    """Return the programs of an artefact, lowered by this jax from its recipe.

    Args:
        path: the artefact.
        manifest: of it; its files have been checked.

    Raises:
        ArtefactError: there is no recipe, its network cannot be made here, or it makes other
            functions than the artefact has.
        ModuleNotFoundError: the layer library is not installed.
    """
    name = manifest.get("recipe", {}).get("config", "config.json")
    config = json.loads(read_listed(path, manifest, name, ".json"))
    try:
        # Only a user's own config may name code outside ssljax: artefacts come from anywhere.
        refuse_dotted_names(config["model"], str(path / name))
        model = resolve("models", config["model"])
    except (KeyError, TypeError, ConfigError, CheckpointError) as err:
        raise ArtefactError(f"{path / name} is no recipe that this ssljax can follow ({err}); "
                            "export the run again.") from err
    files = [listed(path, manifest, file, ".safetensors") for file in manifest["weights"]["files"]]
    programs = lower(model, stored_shapes(files), manifest)
    for function, spec in manifest["functions"].items():
        if function not in programs or programs[function].inputs != spec["inputs"]:
            raise ArtefactError(f"{path}: this ssljax makes another {function} than the one that "
                                "wrote the artefact, or none; export the run again.")
    return {function: programs[function] for function in manifest["functions"]}


def relower_artefact(path: str | Path, output: str | Path | None = None, *,
                     trusted: Sequence[Path] = (), key: Path | None = None) -> dict[str, Any]:
    """Write an artefact again with programs of this jax; weights and golden answers stay.

    Args:
        path: the artefact.
        output: where to; its own place unless told.
        trusted: public keys, one of which must have signed the old one; () asks for none.
        key: signs the new one; a signature of the old one does not carry over.

    Returns:
        The manifest.

    Raises:
        ArtefactError: it is damaged, or cannot be lowered, or its new programs compute something
            else.
    """
    path = Path(path)
    manifest = read_manifest(path, trusted=trusted)
    check_files(path, manifest)
    programs = lower_again(path, manifest)
    golden = read_golden(path / manifest["golden"],
                         read_listed(path, manifest, manifest["golden"], ".safetensors"))
    load_functions(path, manifest, {name: p.data for name, p in programs.items()},
                   load_weights(path, manifest), golden)
    old = {name: spec["file"] for name, spec in manifest["functions"].items()}

    def fill(folder: Path) -> dict[str, Any]:
        for name in manifest["files"].keys() - set(old.values()) - {MANIFEST, SIGNATURE}:
            link(path / name, folder / name)
        for name, program in programs.items():
            (folder / old[name]).write_bytes(program.data)
        functions = {name: {**spec, "outputs": programs[name].outputs,
                            "constraints": list(programs[name].constraints)}
                     for name, spec in manifest["functions"].items()}
        return {**manifest, "functions": functions, **written_by(),
                "relowered": {"jax": manifest["jax"], "written": manifest["written"]}}

    return write_folder(Path(output or path), fill, key=key)


def link(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
