"""Write an artefact: a folder that runs the model where this repository is not installed.

    manifest.json        what is in the folder, and the checksum of every file; written last
    weights.safetensors  float32 arrays by slash-separated name
    score.jaxexp, ...    one serialised jax.export program per function (stablehlo.py)
    golden.npz           answers that every load must reproduce (golden.py)
    tokenizer.json       of decoders whose tokenizer has a file
    config.json          the resolved config of the run that trained it
    README.md            model card

The folder is built beside its place and renamed into it, so a reader sees all of it or nothing.
"""

import contextlib
import datetime
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors.numpy import save_file

from ssljax.core.errors import ArtefactError
from ssljax.core.files import sha256
from ssljax.core.tree import named_leaves
from ssljax.core.types import PyTree
from ssljax.export.stablehlo import PLATFORMS, Program

FORMAT = 1
MANIFEST = "manifest.json"


class Contents(NamedTuple):
    """What goes into an artefact.

    about:    the manifest's own part, plain data: kind, name, lineage, context, ...
    programs: function name -> program
    weights:  float32 arrays on the host, nested dicts
    golden:   arrays of golden.py
    files:    more files by name: config.json, README.md, tokenizer.json
    """

    about: Mapping[str, Any]
    programs: Mapping[str, Program]
    weights: PyTree
    golden: Mapping[str, np.ndarray]
    files: Mapping[str, bytes]


def write_artefact(output: Path, contents: Contents) -> dict[str, Any]:
    """Write `contents` to the folder `output`, in place of an older artefact there.

    Returns:
        The manifest.

    Raises:
        ArtefactError: `output` exists and is something other than an artefact.
    """
    if output.exists() and not (output / MANIFEST).is_file() and not is_empty_folder(output):
        raise ArtefactError(f"{output} exists and is not an artefact (it has no {MANIFEST}); "
                            "choose another --output or remove it.")
    with beside(output) as folder:
        save_file({name: np.ascontiguousarray(leaf)
                   for name, leaf in named_leaves(contents.weights).items()},
                  folder / "weights.safetensors")
        for name, data in small_files(contents).items():
            (folder / name).write_bytes(data)
        # The library makes its file readable by its owner only; servers run as someone else.
        shutil.copymode(folder / "golden.npz", folder / "weights.safetensors")
        manifest = make_manifest(contents, folder)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        replace(folder, output)
    return manifest


def small_files(contents: Contents) -> dict[str, bytes]:
    """Return the bytes of every file but the weights and the manifest."""
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **contents.golden)
    programs = {f"{name}.jaxexp": program.data for name, program in contents.programs.items()}
    return {**programs, "golden.npz": arrays.getvalue(), **contents.files}


def make_manifest(contents: Contents, folder: Path) -> dict[str, Any]:
    """Return the manifest of the files in `folder`; its own checksum covers all its other keys."""
    functions = {name: {"file": f"{name}.jaxexp", "inputs": p.inputs, "outputs": p.outputs,
                        "constraints": list(p.constraints)}
                 for name, p in contents.programs.items()}
    manifest = {
        "format": FORMAT, **contents.about,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "jax": jax.__version__, "platforms": list(PLATFORMS), "functions": functions,
        "files": {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
                  for path in sorted(folder.iterdir())},
    }
    return {**manifest, "sha256": digest(manifest)}


def digest(manifest: Mapping[str, Any]) -> str:
    """Return the sha256 of plain data as canonical JSON."""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@contextlib.contextmanager
def beside(output: Path) -> Iterator[Path]:
    """Yield an empty folder on the file system of `output`; it is gone afterwards unless renamed.

    Raises:
        ArtefactError: the folder cannot be made.
    """
    folder = output.parent / f".{output.name}.writing-{os.getpid()}"
    try:
        folder.mkdir(parents=True)
    except OSError as err:
        raise ArtefactError(f"Cannot write beside {output}: {err.strerror} ({folder}). "
                            "Choose another --output.") from err
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace(folder: Path, output: Path) -> None:
    """Rename `folder` to `output`; what was there goes only once the new one is whole."""
    old = output.parent / f".{output.name}.old-{os.getpid()}"
    if output.exists():
        output.rename(old)
    folder.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def is_empty_folder(path: Path) -> bool:
    """Say whether `path` is a folder with nothing in it."""
    return path.is_dir() and not any(path.iterdir())
