"""A model of the Hugging Face hub's form to an artefact that serves, without training anything."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from ssljax.core.config import resolve
from ssljax.core.errors import ArtefactError, DataError
from ssljax.core.tree import count
from ssljax.core.types import Model, PyTree
from ssljax.export.adapters import Room
from ssljax.export.artefact import Contents, write_artefact
from ssljax.export.contents import Text, decoder_contents, encoder_contents
from ssljax.export.hugging_face import vit
from ssljax.export.hugging_face.folder import Folder, find_folder, params_of, read_folder, read_json
from ssljax.export.imported_card import imported_card
from ssljax.tokenizers import bpe

VERSIONS = ("jax", "safetensors", "tokenizers")


def import_model(source: str, output: str | Path, *, name: str | None = None,
                 adapters: Room | None = None) -> dict[str, Any]:
    """Write the artefact of a model that transformers can read.

    Args:
        source: a folder with config.json and safetensors, or "owner/name[@revision]" of the hub.
        output: the artefact's folder; an older artefact there is replaced.
        name: what the model is called; the folder's or the hub's name unless told.
        adapters: of language models, room for low-rank adapters that a server loads; None for none.

    Returns:
        "path", "name", "kind", "architecture", "parameters" and "bytes".

    Raises:
        ArtefactError: there is no such model, ours computes no such network, a file is damaged, or
            `output` is something else.
    """
    folder = read_folder(find_folder(source))
    model = resolve("models", folder.spec)
    weights = read_weights(folder, model)
    config = {"model": folder.spec, "imported": folder.config}
    about = {"name": name or Path(source.partition("@")[0]).name,
             "recipe": {"config": "config.json"}, "parameters": count(weights),
             "lineage": lineage(source, config, folder)}
    contents = describe(folder, model, weights, about, config, adapters)
    manifest = write_artefact(Path(output), contents)
    logging.info("Imported %s to %s.", source, output)
    return {"path": str(output), "name": manifest["name"], "kind": manifest["kind"],
            "architecture": folder.config["model_type"], "parameters": count(weights),
            "bytes": sum(entry["bytes"] for entry in manifest["files"].values())}


def read_weights(folder: Folder, model: Model) -> PyTree:
    """Return {"params": ...}, and "head" of classifiers, float32."""
    inputs = ({"image": np.zeros((1, *image_shape(folder)), np.float32)}
              if folder.spec["name"] == "vit" else {"tokens": np.zeros((1, 2), np.int32)})
    shapes, _ = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs))
    head = vit.head(folder.tensors) if folder.spec["name"] == "vit" else None
    return {"params": params_of(folder, shapes), **({"head": head} if head else {})}


def image_shape(folder: Folder) -> tuple[int, int, int]:
    """Return height, width and channels of what an image encoder reads."""
    return folder.spec["image_size"], folder.spec["image_size"], folder.spec["channels"]


def lineage(source: str, config: Mapping[str, Any], folder: Folder) -> dict[str, Any]:
    """Return where a model comes from, with the fields that a run's has."""
    text = json.dumps(config, sort_keys=True)
    return {"run": None, "step": None, "imported_from": Path(source).name if Path(source).is_dir()
            else source, "architecture": folder.config["model_type"],
            "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "dataset": {"name": None, "version": None},
            "versions": {package: version(package) for package in VERSIONS}}


def describe(folder: Folder, model: Model, weights: PyTree, about: Mapping[str, Any],
             config: Mapping[str, Any], adapters: Room | None) -> Contents:
    """Return what the artefact holds.

    Raises:
        ArtefactError: adapters are asked for of an encoder.
    """
    def documents(about: Mapping[str, Any]) -> dict[str, bytes]:
        text = json.dumps(config, indent=1, sort_keys=True) + "\n"
        card = imported_card(about, count(weights), folder.spec)
        return {"config.json": text.encode(), "README.md": card.encode()}

    if folder.spec["name"] == "gpt":
        return decoder_contents(model, weights, about, read_text(folder), documents,
                                adapters=adapters)
    if adapters:
        raise ArtefactError(f"{folder.path} is an encoder; adapters are for language models.")
    processor = folder.path / "preprocessor_config.json"
    told = read_json(processor) if processor.is_file() else {}
    if "head" in weights:
        names = folder.config.get("id2label", {})
        count_of = weights["head"]["b"].shape[0]
        labels = [str(names.get(str(i), i)) for i in range(count_of)]
        about = {**about, "functions": {"classify": {
            "labels": labels, "postprocessing": [{"name": "softmax", "output": "logits"}]}}}
    return encoder_contents(
        model, weights, about, image=image_shape(folder),
        preprocessing={"image": vit.preparation(told, folder.spec)}, documents=documents)


def read_text(folder: Folder) -> Text:
    """Return how the model reads text.

    Raises:
        ArtefactError: there is no byte-level tokenizer.json, or it has more ids than the model.
    """
    file = folder.path / "tokenizer.json"
    try:
        tokenizer = bpe.make(path=str(file))
    except DataError as err:
        raise ArtefactError(f"{err} Imported language models need a byte-level tokenizer.json with "
                            f"{bpe.END_OF_TEXT}.") from err
    if tokenizer.vocab_size > folder.spec["vocab_size"]:
        raise ArtefactError(f"{file} has {tokenizer.vocab_size} ids, the model's table "
                            f"{folder.spec['vocab_size']} rows; they do not belong together.")
    context = folder.spec.get("context") or folder.config["max_position_embeddings"]
    return Text(file.read_bytes(), tokenizer, context)
