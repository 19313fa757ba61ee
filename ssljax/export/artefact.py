"""Write an artefact: a folder that runs the model where this repository is not installed.

    manifest.json        what is in the folder, and the checksum of every file; written last
    manifest.json.sig    who vouches for it, where it was signed (core/signature.py)
    model.safetensors    the weights by slash-separated name; several files where they are large
    score.jaxexp, ...    one serialised jax.export program per function (stablehlo.py)
    golden.safetensors   answers that every load must reproduce (golden.py)
    tokenizer.json       of decoders whose tokenizer has a file
    config.json          the resolved config of the run: with the weights, the recipe (recipe.py)
    README.md            model card

The folder is built beside its place and renamed into it, so a reader sees all of it or nothing.
"""

import contextlib
import datetime
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax import export
from safetensors.numpy import save

from ssljax.core.errors import ArtefactError
from ssljax.core.files import sha256
from ssljax.core.signature import sign
from ssljax.core.tree import named_leaves
from ssljax.core.types import PyTree
from ssljax.export.golden import Golden
from ssljax.export.stablehlo import PLATFORMS, Program
from ssljax.export.weights import SHARD, write_weights

ABI = 2
MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
GOLDEN = "golden.safetensors"
ROWS = (1, 2, 4, 8, 16)            # row buckets that a server may round up to

# When a version of jax was built, from which its promises about old and new programs count: the
# date inside its wheel on PyPI. The package itself does not say.
BUILT = {"0.10.0": "2026-04-16", "0.10.1": "2026-05-18", "0.10.2": "2026-06-17",
         "0.11.0": "2026-07-16", "0.11.1": "2026-08-17"}


class Contents(NamedTuple):
    """What goes into an artefact.

    about:    the manifest's own part, plain data: kind, name, lineage, context, ...
    programs: function name -> program
    weights:  arrays on the host, nested dicts, as they are stored
    golden:   answers of the programs
    files:    more files by name: config.json, README.md, tokenizer.json
    """

    about: Mapping[str, Any]
    programs: Mapping[str, Program]
    weights: PyTree
    golden: Golden
    files: Mapping[str, bytes]


def write_artefact(output: Path, contents: Contents, *, shard: int = SHARD,
                   key: Path | None = None) -> dict[str, Any]:
    """Write `contents` to the folder `output`, in place of an older artefact there.

    Args:
        output: the folder.
        contents: what it will hold.
        shard: bytes of a file of weights at most.
        key: PEM file of the Ed25519 key that signs the manifest; None leaves it unsigned.

    Returns:
        The manifest.

    Raises:
        ArtefactError: `output` exists and is something other than an artefact, or the key is none.
    """
    def fill(folder: Path) -> dict[str, Any]:
        weights = write_weights(folder, named_leaves(contents.weights), shard=shard)
        for name, data in small_files(contents).items():
            (folder / name).write_bytes(data)
        for name in weights["files"]:
            # The library makes its files readable by their owner only; servers run as someone else.
            shutil.copymode(folder / GOLDEN, folder / name)
        return {**contents.about, **program_facts(contents), "weights": weights}

    return write_folder(output, fill, key=key)


def write_folder(output: Path, fill: Callable[[Path], Mapping[str, Any]], *,
                 key: Path | None) -> dict[str, Any]:
    """Make an artefact of what `fill` writes into a folder and says of it; return its manifest.

    Raises:
        ArtefactError: as of write_artefact.
    """
    check_place(output)
    if key is not None:
        sign(b"", key)                 # a key that is none ends this before the long part
    with beside(output) as folder:
        manifest = sealed(fill(folder), folder)
        data = (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
        (folder / MANIFEST).write_bytes(data)
        if key is not None:
            (folder / SIGNATURE).write_bytes(sign(data, key))
        replace(folder, output)
    return manifest


def check_place(output: Path) -> None:
    """Raise ArtefactError where `output` is something that is not to be replaced."""
    if output.exists() and not (output / MANIFEST).is_file() and not is_empty_folder(output):
        raise ArtefactError(f"{output} exists and is not an artefact (it has no {MANIFEST}); "
                            "choose another --output or remove it.")


def small_files(contents: Contents) -> dict[str, bytes]:
    """Return the bytes of every file but weights, manifest and signature."""
    programs = {f"{name}.jaxexp": program.data for name, program in contents.programs.items()}
    # Neither compressed nor pickled, as .npz may be: reading it costs what its size says.
    return {**programs, GOLDEN: save(dict(contents.golden.arrays)), **contents.files}


def program_facts(contents: Contents) -> dict[str, Any]:
    """Return the manifest's part about programs."""
    about = contents.about.get("functions", {})
    functions = {name: {
        "file": f"{name}.jaxexp", "inputs": p.inputs, "outputs": p.outputs,
        "constraints": list(p.constraints), "golden": contents.golden.about[name],
        "buckets": buckets(p, contents.about), "postprocessing": [], **about.get(name, {})}
        for name, p in contents.programs.items()}
    return {"functions": functions, "golden": GOLDEN, **written_by()}


def written_by() -> dict[str, Any]:
    """Return what decides which jax can read programs that are lowered here, now."""
    return {"jax": {"version": jax.__version__, "built": BUILT.get(jax.__version__),
                    "commit": getattr(jax.version, "_git_hash", None) or None,
                    "calling_convention": export.maximum_supported_calling_convention_version},
            "platforms": list(PLATFORMS)}


def buckets(program: Program, about: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the sizes that are worth a compiled program each: rows, and tokens by powers of two.

    A recommendation: a program takes any sizes its constraints allow.
    """
    shapes = {n for spec in program.inputs.values() for n in spec["shape"]}
    found = {"b": list(ROWS)} if "b" in shapes else {}
    if "l" in shapes and "max_context" in about:
        powers = [32 * 2**i for i in range(32) if 32 * 2**i < about["max_context"]]
        found["l"] = [*powers, about["max_context"]]
    return found


def sealed(about: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the manifest of the files in `folder`; its own checksum covers all its other keys."""
    manifest = {
        **about, "abi": ABI,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
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
