"""Load an artefact: check every byte, bring the programs back, compare them with golden answers.

Reads the folder that `ssljax export` writes (its manifest.json says what is in it) and returns
functions, weights and tokenizer. Knows nothing of the network behind them: no model code, no layer
library, nothing unpickled. A serialised program runs with the rights of this process, as any code
does; checksums detect damage, and a signature by a trusted key says who wrote the artefact.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import logging
from jax import export

from ssljax.core.config import resolve
from ssljax.core.errors import ArtefactError, MissingExtraError, SsljaxError
from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.golden import Golden, arguments_of, check_function, read_golden
from ssljax.serve.manifest import (
    EXPORT_AGAIN,
    MANIFEST,
    check_files,
    listed,
    read_listed,
    read_manifest,
)
from ssljax.serve.turned import of_turned, turning
from ssljax.serve.weights import Place, load_weights, on_default_device

AT_ONCE = 2              # programs; reading a kept one is half Python, so that more gain nothing
Function = Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]    # (weights, inputs) -> outputs
# (artefact's folder, its manifest) -> serialised programs by function, lowered by this jax
Relower = Callable[[Path, Mapping[str, Any]], Mapping[str, bytes]]


class ProgramError(ArtefactError):
    """A program of an artefact that is whole is too old, or too new, for the jax that runs here."""


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


def load_artefact(path: Path, *, trusted: Sequence[Path] = (), place: Place = on_default_device,
                  relower: Relower | None = None) -> Artefact:
    """Read, check and return the artefact in the folder `path`.

    Args:
        path: the folder.
        trusted: PEM files of public Ed25519 keys, one of which must have signed; () asks for none.
        place: puts each array of the weights on its devices.
        relower: makes the programs anew, where this jax cannot run those of the artefact.

    Raises:
        ArtefactError: a file is missing, damaged, of an unknown format, or does not run here; the
            message names the file.
        ProgramError: all is whole, but this jax cannot run a program.
    """
    manifest = read_manifest(path, trusted=trusted)
    # Divided over devices, matrices stay as they are: turned, heads could not be divided.
    turned = (manifest["kind"] == "decoder" and platform() == "cpu" and place is on_default_device)
    with ThreadPoolExecutor(1) as pool:
        # jax imports it for its first program; that takes about as long as the files do.
        pool.submit(importlib.import_module, "scipy.linalg")
        check_files(path, manifest)
        weights = load_weights(path, manifest, turning(place) if turned else place)
    form = of_turned if turned else None
    golden = read_golden(path / manifest["golden"],
                         read_listed(path, manifest, manifest["golden"], ".safetensors"))
    try:
        functions = load_functions(path, manifest, stored(path, manifest), weights, golden,
                                   form)
    except ProgramError as err:
        if relower is None:
            raise
        logging.warning("%s Making its programs anew from the recipe.", err)
        functions = load_functions(path, manifest, relower(path, manifest), weights, golden,
                                   form)
    return Artefact(path, manifest, weights, functions, load_tokenizer(path, manifest))


def stored(path: Path, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the serialised programs of an artefact by function."""
    return {name: read_listed(path, manifest, spec.get("file"), ".jaxexp")
            for name, spec in manifest["functions"].items()}


def load_functions(path: Path, manifest: Mapping[str, Any], programs: Mapping[str, bytes],
                   weights: Any, golden: Golden,
                   form: Callable[[Function], Function] | None = None) -> dict[str, Function]:
    """Bring every program back and compare its answers with the golden ones.

    `form` makes functions of `weights` of those of weights as they are stored.

    Raises:
        ArtefactError: one computes something else.
        ProgramError: this jax cannot run one.
        MissingExtraError: the package that reads the serialised form is not installed.
    """
    def load(name: str, spec: Mapping[str, Any]) -> Function:
        file = path / str(spec.get("file", name))
        function = load_function(file, programs[name], manifest)
        function = form(function) if form else function
        try:
            given = arguments_of(name, spec, golden)
        except (KeyError, TypeError, ValueError) as err:
            raise ArtefactError(f"{path / MANIFEST} has no golden arguments of {name} ({err!r}); "
                                f"{EXPORT_AGAIN}") from err
        try:
            check_function(name, function, weights, given, golden, platform=platform())
        except ArtefactError as err:
            raise ArtefactError(f"{path / manifest['golden']}: {err}") from err
        except Exception as err:                     # of several kinds, by what jax trips over
            raise cannot_run(file, manifest, err) from err
        return function

    specs = manifest["functions"]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(specs, pool.map(load, specs, specs.values()), strict=True))


def load_function(file: Path, data: bytes, manifest: Mapping[str, Any]) -> Function:
    """Bring one serialised program back.

    Raises:
        ProgramError: this version of jax cannot read it.
        ArtefactError: it is for other platforms.
        MissingExtraError: the package that reads the serialised form is not installed.
    """
    try:
        exported = export.deserialize(bytearray(data))
    except ImportError as err:                       # flatbuffers, which jax does not depend on
        raise MissingExtraError("flatbuffers", "serve") from err
    except Exception as err:                         # of several kinds, by what jax trips over
        raise cannot_run(file, manifest, err) from err
    here = platform()
    if here not in exported.platforms:
        if not exported.platforms:                   # what jax makes of a program it half reads
            raise cannot_run(file, manifest, ValueError("no platforms"))
        raise ArtefactError(f"{file} was exported for {', '.join(exported.platforms)}; this "
                            f"process runs on {here}. Set JAX_PLATFORMS to one of them.")
    return exported.call


def cannot_run(file: Path, manifest: Mapping[str, Any], err: Exception) -> ProgramError:
    """Return the one message about a program that is whole and yet does not run."""
    reason = " ".join(f"{type(err).__name__}: {err}".split())[:200]
    writer = manifest["jax"]
    return ProgramError(
        f"{file}: jax {jax.__version__} cannot run this program, lowered by jax "
        f"{writer.get('version')} of {writer.get('built') or 'unknown date'} ({reason}). jax "
        "promises that versions up to 6 months newer and 3 weeks older can. `ssljax export "
        f"--relower {file.parent}` makes them anew from the recipe, with the model code installed.")


def platform() -> str:
    """Return what jax.export calls the platform of the default device."""
    name = jax.default_backend()
    return "cuda" if name == "gpu" else name


def load_tokenizer(path: Path, manifest: Mapping[str, Any]) -> Tokenizer | None:
    """Return the tokenizer that the manifest names, checked to be the one of training.

    Raises:
        ArtefactError: its fingerprint differs, it cannot be read, or its name leaves this package.
    """
    spec = manifest.get("tokenizer")
    if spec is None:
        return None
    try:
        name, fingerprint, file = spec["name"], spec["fingerprint"], spec.get("file")
        if "." in name:                              # an artefact must not choose code to import
            raise ArtefactError(f'{path / MANIFEST}: tokenizer "{name}" is not one of ssljax.')
        arguments = {} if file is None else {"path": str(listed(path, manifest, file, ".json"))}
        tokenizer = resolve("tokenizers", {"name": name, **arguments})
    except ArtefactError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as err:       # ConfigError among them
        raise ArtefactError(f"{path / MANIFEST} names no tokenizer that can be read: {spec!r:.120} "
                            f"({err}); {EXPORT_AGAIN}") from err
    except SsljaxError as err:
        raise ArtefactError(f"{path}: {err}") from err
    if tokenizer.fingerprint != fingerprint:
        raise ArtefactError(
            f"{path}: tokenizer {name} has fingerprint {tokenizer.fingerprint[:12]}..., the model "
            f"was trained with {str(fingerprint)[:12]}...; {EXPORT_AGAIN}")
    return tokenizer
