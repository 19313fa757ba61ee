"""Read an adapter's folder as PEFT writes it, and lay its matrices out as our programs read them.

adapter_config.json and adapter_model.safetensors; pickled weights are not read, since reading them
runs code. Their A is [r, inputs] and B [outputs, r]; ours are a [S, I, R] and b [S, R, O] of S
parts, at the rank R that the artefact has room for, the scale within b.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.flax import load_file

from ssljax.core.errors import ArtefactError
from ssljax.serve.adapter_config import AdapterConfig, read_config
from ssljax.serve.adapter_names import Place, module_of, place_of
from ssljax.serve.adapters import Adapter, specs_of
from ssljax.serve.artefact import Artefact
from ssljax.serve.mesh import HEADS

WEIGHTS, PICKLED = "adapter_model.safetensors", "adapter_model.bin"


class Module(NamedTuple):
    """One module of theirs: what it is called, what it is here, its A [r, I] and B [O, r]."""

    name: str
    place: Place
    a: np.ndarray
    b: np.ndarray


def read_adapter(folder: Path, artefact: Artefact) -> Adapter:
    """Return the adapter in a folder, for a model that has room for it.

    Raises:
        ArtefactError: a file is missing, damaged or pickled, the adapter is of another base or
            kind, its rank is too large, or a tensor has no place or another shape.
    """
    config, specs = read_config(folder), specs_of(artefact)
    check_base(folder, config, artefact.manifest)
    room = next(iter(specs.values()))["shape"][-1] if specs else 0
    if config.rank > room:
        raise ArtefactError(f"{folder} has rank {config.rank}; {artefact.path} has room for rank "
                            f"{room}. Export it with --adapter-rank {config.rank}.")
    modules = read_modules(folder / WEIGHTS, config.rank)
    check_names(folder, config, modules, artefact.manifest, specs)
    arrays: dict[str, np.ndarray] = {}
    for module in modules:
        add(arrays, folder / WEIGHTS, ungrouped(module, artefact), config.scale, specs)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ArtefactError(f"{folder}: B times the scale {config.scale:g} is too large for a "
                            "float32.")
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} ".encode() + arrays[name].tobytes())
    return Adapter(arrays, digest.hexdigest(), config.rank)


def check_base(folder: Path, config: AdapterConfig, manifest: Mapping[str, Any]) -> None:
    """Raise ArtefactError where an adapter names another base than this model, or its revision."""
    lineage = manifest.get("lineage", {})
    source, _, revision = str(lineage.get("imported_from") or "").partition("@")
    known = {str(name) for name in (manifest["name"], lineage.get("run"), source) if name}
    if config.base and Path(config.base).name not in {Path(name).name for name in known}:
        raise ArtefactError(f'{folder} was trained on "{config.base}"; this model is '
                            f"{' or '.join(sorted(known))}. If it is the same one, set "
                            "base_model_name_or_path in adapter_config.json to its name.")
    if config.revision and revision and config.revision != revision:
        raise ArtefactError(f"{folder} was trained on revision {config.revision} of {source}; this "
                            f"model is revision {revision}.")


def read_modules(file: Path, rank: int) -> list[Module]:
    """Return the modules of a file of weights.

    Raises:
        ArtefactError: it cannot be read, a tensor is no A or B of a matrix that adapters change
            here, one of the two is missing, or a number is not finite.
    """
    try:
        tensors = {name: np.asarray(t, np.float32) for name, t in load_file(file).items()}
    except (OSError, SafetensorError, ValueError, TypeError) as err:
        pickled = (f"; {PICKLED} is pickled and is not read: save the adapter with safetensors"
                   if file.with_name(PICKLED).exists() else "")
        raise ArtefactError(f"{file} cannot be read ({err}){pickled}.") from err
    pairs: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        found = module_of(name)
        if found is None or place_of(found[0]) is None:
            raise ArtefactError(f"{file} has the tensor {name}, which nothing here reads; adapters "
                                "change the matrices of attention and of feed-forward layers.")
        at = 0 if found[1] == "A" else 1
        if tensor.ndim != 2 or tensor.shape[at] != rank:
            raise ArtefactError(f"{file}: {name} has shape {tensor.shape}; adapter_config.json "
                                f"makes it a matrix of rank {rank}.")
        if not np.isfinite(tensor).all():
            raise ArtefactError(f"{file}: {name} has numbers that are not finite.")
        pairs.setdefault(found[0], {})[found[1]] = tensor
    for module, pair in pairs.items():
        if len(pair) < 2:
            raise ArtefactError(f"{file} has only one of lora_A and lora_B of {module}; it is not "
                                "whole.")
    if not pairs:
        raise ArtefactError(f"{file} holds no tensors.")
    return [Module(name, place_of(name), pair["A"], pair["B"])
            for name, pair in sorted(pairs.items())]


def check_names(folder: Path, config: AdapterConfig, modules: list[Module],
                manifest: Mapping[str, Any], specs: Mapping[str, Any]) -> None:
    """Raise ArtefactError where modules are of another network, or some of the targets' lack."""
    architecture = manifest.get("lineage", {}).get("architecture")
    for module in modules:
        family = module.place.family
        if f"{module.place.name}/a" not in specs or family != "ssljax" and architecture not in (
                None, family):
            raise ArtefactError(f"{folder / WEIGHTS} changes {module.name}, which this model does "
                                "not have: the adapter is of another network.")
    layers = {int(name.split("/")[2]) for name in specs}
    for target in config.targets or ():
        mine = [m for m in modules if f".{m.name}".replace("/", ".").endswith(f".{target}")]
        lacking = layers - {module.place.layer for module in mine}
        if lacking:
            raise ArtefactError(f"{folder / WEIGHTS} has no {target} of layer {min(lacking)}, "
                                "which target_modules names; it is not whole, or of another "
                                "network.")


def add(arrays: dict[str, np.ndarray], file: Path, module: Module, scale: float,
        specs: Mapping[str, Any]) -> None:
    """Lay a module's matrices out in `arrays`.

    Raises:
        ArtefactError: they have other sizes than the weight.
    """
    name, part = module.place.name, module.place.part
    rank = len(module.a)
    a_shape, b_shape = (tuple(specs[f"{name}/{which}"]["shape"][1:]) for which in "ab")
    parts, outputs = b_shape[0], b_shape[2]
    expected = ((outputs * parts if part is None else outputs), a_shape[1])
    if (len(module.b), module.a.shape[1]) != expected:
        raise ArtefactError(f"{file}: {module.name} maps {module.a.shape[1]} inputs to "
                            f"{len(module.b)} outputs; in this model it maps {expected[1]} to "
                            f"{expected[0]}.")
    whole_a = arrays.setdefault(f"{name}/a", np.zeros(a_shape, np.float32))
    whole_b = arrays.setdefault(f"{name}/b", np.zeros(b_shape, np.float32))
    at = slice(None) if part is None else slice(part, part + 1)
    whole_a[at, :, :rank] = module.a.T
    # [O, r] to [S, r, O]: queries, keys and values follow each other in the outputs.
    with np.errstate(over="ignore"):                 # the caller looks for what is not finite
        whole_b[at, :rank] = scale * module.b.reshape(-1, outputs, rank).swapaxes(1, 2)


def ungrouped(module: Module, artefact: Artefact) -> Module:
    """Return a module with a copy of each shared head of keys or values for all that read it.

    As the import of such a model has done with the weights (export/hugging_face/llama.py).
    """
    spec = specs_of(artefact).get(f"{module.place.name}/b")
    if not module.place.part or spec is None:          # queries have heads of their own
        return module
    cache = next(about for name, about in artefact.manifest["functions"]["decode"]["inputs"].items()
                 if name.startswith("cache/"))
    heads = cache["shape"][HEADS]
    width = spec["shape"][-1] // heads
    groups = len(module.b) // width
    if not groups or len(module.b) % width or heads % groups:
        return module
    split = module.b.reshape(groups, width, -1)
    return module._replace(b=np.repeat(split, heads // groups, axis=0).reshape(heads * width, -1))
