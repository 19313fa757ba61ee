"""Load an artefact: check every byte, bring the programs back, compare them with golden answers.

Reads the folder that `ssljax export` writes (its manifest.json says what is in it) and returns
functions, weights and tokenizer. Knows nothing of the network behind them: no model code, no layer
library, nothing unpickled. A serialised program runs with the rights of this process, as any code
does; the checksums detect damage, and say nothing of who wrote the artefact.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ssljax.core.config import resolve
from ssljax.core.errors import ArtefactError, MissingExtraError
from ssljax.core.files import sha256
from ssljax.core.tokenizer import Tokenizer
from ssljax.core.tree import unflatten

FORMATS = (1,)
MANIFEST = "manifest.json"

# Largest difference from a golden answer, as a fraction of the largest golden value (at least 1).
# A CPU only reorders float32 sums between versions, 1e-6 in practice. Accelerators multiply
# float32 matrices with 10 (TF32) or 8 (TPU) bits of mantissa unless told otherwise; errors of
# that size add up over layers. Wrong weights or a wrong program differ by the order of 1.
TOLERANCE = {"cpu": 1e-4, "cuda": 2e-2, "tpu": 5e-2}

EXPORT_AGAIN = "copy the artefact again, or export the run again."

Function = Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]    # (weights, inputs) -> outputs


class Artefact(NamedTuple):
    """A model ready to run.

    path:      where it was read
    manifest:  what it says of itself, plain data
    weights:   nested dicts of arrays, the first argument of every function
    functions: name -> (weights, inputs) -> outputs
    tokenizer: of decoders; None for encoders
    """

    path: Path
    manifest: Mapping[str, Any]
    weights: Any
    functions: Mapping[str, Function]
    tokenizer: Tokenizer | None


def load_artefact(path: Path) -> Artefact:
    """Read, check and return the artefact in the folder `path`.

    Raises:
        ArtefactError: a file is missing, damaged, of an unknown format, or does not run here; the
            message names the file.
    """
    manifest = read_manifest(path)
    check_files(path, manifest)
    functions = {name: load_function(path / spec["file"], manifest)
                 for name, spec in manifest["functions"].items()}
    weights = load_weights(path / "weights.safetensors")
    check_golden(path / "golden.npz", functions, weights)
    return Artefact(path, manifest, weights, functions, load_tokenizer(path, manifest))


def read_manifest(path: Path) -> dict[str, Any]:
    """Return manifest.json of the folder `path`, whole and of a known format.

    Raises:
        ArtefactError: it is missing, not JSON, changed since it was written, or too new.
    """
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
        version, checksum = manifest["format"], manifest.pop("sha256")
    except OSError as err:
        raise ArtefactError(f"{path} is not an artefact: cannot read {file} ({err.strerror}). "
                            "`ssljax export RUN --output DIR` writes one.") from err
    except (ValueError, TypeError, KeyError, AttributeError) as err:
        raise ArtefactError(f"{file} is damaged ({err!r}); {EXPORT_AGAIN}") from err
    if version not in FORMATS:
        raise ArtefactError(f"{file} has format {version!r}; this ssljax reads {list(FORMATS)}. "
                            "Install the ssljax that wrote it, or export the run again with this.")
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(text.encode()).hexdigest() != checksum:
        raise ArtefactError(f"{file} was changed after it was written (its checksum differs); "
                            f"{EXPORT_AGAIN}")
    return manifest


def check_files(path: Path, manifest: Mapping[str, Any]) -> None:
    """Compare size and checksum of every file with the manifest.

    Raises:
        ArtefactError: naming the first file that is missing or differs.
    """
    for name, expected in manifest["files"].items():
        file = path / name
        if Path(name).name != name:
            raise ArtefactError(f'{path / MANIFEST} lists "{name}", not a plain file name.')
        try:
            size = file.stat().st_size
            checksum = sha256(file)
        except OSError as err:
            raise ArtefactError(f"{file} cannot be read ({err.strerror}); {EXPORT_AGAIN}") from err
        if size != expected["bytes"]:
            raise ArtefactError(f"{file} has {size} bytes; its manifest says {expected['bytes']}. "
                                f"It was cut or changed: {EXPORT_AGAIN}")
        if checksum != expected["sha256"]:
            raise ArtefactError(f"{file} is damaged: its sha256 is {checksum[:12]}..., its "
                                f"manifest says {expected['sha256'][:12]}...; {EXPORT_AGAIN}")


def load_function(file: Path, manifest: Mapping[str, Any]) -> Function:
    """Bring one serialised program back.

    Raises:
        ArtefactError: this version of jax cannot read it, or it is for other platforms.
        MissingExtraError: the package that reads the serialised form is not installed.
    """
    try:
        exported = export.deserialize(bytearray(file.read_bytes()))
    except ImportError as err:                       # flatbuffers, which jax does not depend on
        raise MissingExtraError("flatbuffers", "serve") from err
    except Exception as err:                         # of several kinds, by what jax trips over
        raise ArtefactError(
            f"{file}: jax {jax.__version__} cannot read this program, written by jax "
            f"{manifest['jax']} on {manifest['written'][:10]} ({err}). Programs are kept readable "
            "for 6 months; export the run again with this version.") from err
    here = platform()
    if here not in exported.platforms:
        raise ArtefactError(f"{file} was exported for {', '.join(exported.platforms)}; this "
                            f"process runs on {here}. Set JAX_PLATFORMS to one of them.")
    return exported.call


def platform() -> str:
    """Return what jax.export calls the platform of the default device."""
    name = jax.default_backend()
    return "cuda" if name == "gpu" else name


def load_weights(file: Path) -> Any:
    """Return the arrays of a safetensors file on the default device, as nested dicts."""
    try:
        return jax.device_put(unflatten(load_file(file)))
    except (OSError, SafetensorError) as err:
        raise ArtefactError(f"{file} cannot be read ({err}); {EXPORT_AGAIN}") from err


def check_golden(file: Path, functions: Mapping[str, Function], weights: Any) -> None:
    """Compare what the programs answer here with what the trained model answered.

    Raises:
        ArtefactError: they differ by more than TOLERANCE of this platform.
    """
    with np.load(file, allow_pickle=False) as stored:
        golden = dict(stored)
    if "score" in functions:
        out = jax.jit(functions["score"])(weights, {"tokens": golden["tokens"]})["logits"]
        logits = np.asarray(out)
        answers = {"logits": logits[:, :, golden["columns"]],
                   "logsumexp": np.logaddexp.reduce(logits, axis=-1)}
    else:
        answers = jax.jit(functions["embed"])(weights, {"image": golden["image"]})
    limit = TOLERANCE.get(platform(), TOLERANCE["cpu"])
    for name, answer in answers.items():
        scale = max(1.0, float(np.abs(golden[name]).max()))
        error = float(np.abs(np.asarray(answer) - golden[name]).max()) / scale
        if not error <= limit:                       # a nan is no agreement
            raise ArtefactError(f"{file}: {name} computed here differs by {error:.1e} of its scale "
                                f"from the trained model's; at most {limit:.0e} is rounding on "
                                f"{platform()}. The programs and weights do not belong together, "
                                "or this jax computes wrongly: export the run again.")


def load_tokenizer(path: Path, manifest: Mapping[str, Any]) -> Tokenizer | None:
    """Return the tokenizer that the manifest names, checked to be the one of training.

    Raises:
        ArtefactError: its fingerprint differs, or its name leaves this package.
    """
    spec = manifest.get("tokenizer")
    if spec is None:
        return None
    if "." in spec["name"]:                          # an artefact must not choose code to import
        raise ArtefactError(f'{path / MANIFEST}: tokenizer "{spec["name"]}" is not one of ssljax.')
    arguments = {"path": str(path / spec["file"])} if "file" in spec else {}
    tokenizer = resolve("tokenizers", {"name": spec["name"], **arguments})
    if tokenizer.fingerprint != spec["fingerprint"]:
        raise ArtefactError(
            f"{path}: tokenizer {spec['name']} has fingerprint {tokenizer.fingerprint[:12]}..., "
            f"the model was trained with {spec['fingerprint'][:12]}...; {EXPORT_AGAIN}")
    return tokenizer
