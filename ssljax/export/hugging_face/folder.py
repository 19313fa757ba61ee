"""Read a model's folder as the Hugging Face hub has them: config.json and safetensors.

Reads a local folder, or an "owner/name" or "owner/name@revision" of the hub by huggingface_hub,
which the tokenizers library brings along. Pickled weights are refused: reading them runs code.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.flax import load_file

from ssljax.core.errors import ArtefactError, nearest, needed
from ssljax.core.types import PyTree
from ssljax.export.hugging_face import gpt2, llama, vit
from ssljax.export.hugging_face.architecture import Architecture
from ssljax.export.hugging_face.rules import to_params

ARCHITECTURES: dict[str, Architecture] = {
    "gpt2": gpt2.ARCHITECTURE, "llama": llama.ARCHITECTURE, "vit": vit.ARCHITECTURE}
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
WANTED = ["config.json", "tokenizer.json", "preprocessor_config.json", "*.safetensors",
          "*.safetensors.index.json"]


class Folder(NamedTuple):
    """A model as it was found.

    config:  of config.json
    spec:    of our model
    tensors: by name, without the prefix of the base model
    """

    path: Path
    config: dict[str, Any]
    spec: dict[str, Any]
    tensors: dict[str, np.ndarray]


def find_folder(source: str) -> Path:
    """Return the folder of `source`, downloaded if it is a name of the hub.

    Raises:
        ArtefactError: neither a folder nor a name, or the hub does not give it.
        MissingExtraError: huggingface_hub is not installed.
    """
    if Path(source).is_dir():
        return Path(source)
    if not HUB_NAME.fullmatch(source):
        raise ArtefactError(f"{source} is neither a folder nor a name of the Hugging Face hub such "
                            'as "openai-community/gpt2" or "owner/name@revision".')
    with needed("huggingface_hub", "train"):
        import huggingface_hub
    name, _, revision = source.partition("@")
    try:
        return Path(huggingface_hub.snapshot_download(name, revision=revision or None,
                                                      allow_patterns=WANTED))
    except Exception as err:          # of its own, of HTTP and of the file system
        raise ArtefactError(f"There is no folder {source}, and the Hugging Face hub does not give "
                            f"it: {err}") from err


def read_folder(path: Path) -> Folder:
    """Return what is in the folder.

    Raises:
        ArtefactError: a file is missing or damaged, or the architecture is none of ours.
    """
    config = read_json(path / "config.json")
    kind = str(config.get("model_type"))
    if kind not in ARCHITECTURES:
        raise ArtefactError(f'{path / "config.json"} is of model_type "{kind}"; ssljax imports '
                            f"{nearest(kind, ARCHITECTURES)}")
    try:
        spec = ARCHITECTURES[kind].spec(config)
    except KeyError as err:
        raise ArtefactError(f"{path / 'config.json'} has no {err}.") from err
    prefix = ARCHITECTURES[kind].prefix
    tensors = {name.removeprefix(prefix): t for name, t in read_tensors(path).items()}
    return Folder(path, config, spec, tensors)


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        ArtefactError: it cannot be read, or is none.
    """
    try:
        found = json.loads(file.read_bytes())
    except OSError as err:
        raise ArtefactError(f"{file} cannot be read ({err.strerror}); expected the folder of a "
                            "model as transformers' save_pretrained writes it.") from err
    except ValueError as err:
        raise ArtefactError(f"{file} is not JSON: {err}") from err
    if not isinstance(found, dict):
        raise ArtefactError(f"{file} holds no JSON object.")
    return found


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Return all tensors of a folder; those of bfloat16 have ml_dtypes' dtype.

    Raises:
        ArtefactError: there are no safetensors, or a file is damaged or missing.
    """
    index = path / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        placed = read_json(index).get("weight_map")
        names = sorted({str(file) for file in placed.values()}) if isinstance(placed, dict) else []
    tensors: dict[str, np.ndarray] = {}
    for name in names:
        file = path / name
        if Path(name).name != name:
            raise ArtefactError(f'{index} lists "{name}", not a plain file name.')
        try:
            tensors |= {key: np.asarray(t) for key, t in load_file(file).items()}
        except (OSError, SafetensorError) as err:
            pickled = [p.name for p in path.glob("*.bin")]
            why = (f"; {pickled[0]} is pickled and is not read: save the model once more with "
                   "safetensors" if pickled else "")
            raise ArtefactError(f"{file} cannot be read ({err}){why}.") from err
    return tensors


def params_of(folder: Folder, shapes: PyTree) -> PyTree:
    """Return our params, float32, of `shapes`.

    Raises:
        ArtefactError: a tensor is missing, of another shape, or of no use to our network.
    """
    kind = ARCHITECTURES[folder.config["model_type"]]
    tensors = kind.prepare(folder.tensors, folder.config)
    rules = kind.rules(folder.spec)
    depth = folder.spec["depth"]
    read = {name.format(i) for rule in rules for name in rule.theirs for i in range(depth)}
    unread = sorted(n for n in tensors if n not in read and not re.fullmatch(kind.ignored, n))
    if unread:
        raise ArtefactError(f"{folder.path}: nothing in our {folder.spec['name']} reads the tensor "
                            f"{unread[0]} (and {len(unread) - 1} more): the answers would differ. "
                            "This model cannot be imported.")
    return to_params(rules, tensors, shapes)
