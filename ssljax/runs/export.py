"""A run's checkpoint to an artefact that runs without this repository."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from ssljax.core.errors import ArtefactError
from ssljax.core.tree import cast_floating, count, unflatten
from ssljax.core.types import PyTree
from ssljax.export.artefact import Contents, write_artefact
from ssljax.export.golden import golden_answers
from ssljax.export.model_card import CardFacts, model_card
from ssljax.export.recipe import lower
from ssljax.media.operations import Preparation
from ssljax.runs import evaluate
from ssljax.runs.restore import Restored, load_run
from ssljax.tokenizers import bpe


def export_run(run_dir: str | Path, output: str | Path, *, step: int | None = None,
               name: str | None = None) -> dict[str, Any]:
    """Write the artefact of a run.

    Args:
        run_dir: the folder it was trained in.
        output: the artefact's folder; an older artefact there is replaced.
        step: which checkpoint; the newest sound one unless told.
        name: what the model is called; the run's folder unless told.

    Returns:
        "path", "name", "kind", "step", "parameters", "bytes" and "functions" {name: bytes}.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged.
        DataError: the dataset's tokenizer is gone or damaged.
        ArtefactError: the tokenizer is not the one of training, or `output` is something else.
    """
    restored = load_run(run_dir, step)
    weights = host_weights(restored)
    # Decoders of pixels generate too, but what they are exported for is encoding images.
    text = restored.model.init_cache is not None and "image" not in restored.pretext.spec
    describe = describe_decoder if text else describe_encoder
    contents = describe(restored, weights, lineage(restored, name))
    manifest = write_artefact(Path(output), contents)
    sizes = {file: entry["bytes"] for file, entry in manifest["files"].items()}
    logging.info("Exported step %d of %s to %s.", restored.step, run_dir, output)
    return {"path": str(output), "name": manifest["name"], "kind": manifest["kind"],
            "step": restored.step, "parameters": count(weights), "bytes": sum(sizes.values()),
            "functions": {key: sizes[spec["file"]] for key, spec in manifest["functions"].items()}}


def host_weights(restored: Restored) -> PyTree:
    """Return the weights of the method's encoder, float32, on the host, whatever mesh held them.

    Returns:
        {"params": ...}, and "stats" for networks that have them.
    """
    params, stats = restored.objective.encoder(restored.params, restored.extra)
    tree = {"params": params, **({"stats": stats} if jax.tree.leaves(stats) else {})}
    return jax.tree.map(np.asarray, cast_floating(jax.device_get(tree), np.float32))


def lineage(restored: Restored, name: str | None) -> dict[str, Any]:
    """Return the part of the manifest that every kind has: name and origin."""
    data = restored.manifest or {}
    text = json.dumps(restored.config, sort_keys=True)
    return {"name": name or restored.path.name, "lineage": {
        "run": restored.path.name, "step": restored.step,
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "dataset": {key: data.get(key) for key in ("name", "version")},
        "versions": restored.versions}}


def describe_decoder(restored: Restored, weights: PyTree, about: Mapping[str, Any]) -> Contents:
    """Return the artefact of a language model: its programs, tokenizer and golden answers."""
    definition, tokenizer = run_tokenizer(restored)
    (context,), _ = restored.pretext.spec["tokens"]
    programs = lower(restored.model, weights, {"kind": "decoder"})
    logits, inputs = programs["score"].outputs["logits"], programs["decode"].inputs
    about = {**about, "kind": "decoder", "max_context": context, "vocab_size": logits["shape"][-1],
             "end_of_text": tokenizer.end_of_text,
             "cache": unflatten({key.removeprefix("cache/"): spec for key, spec in inputs.items()
                                 if key.startswith("cache/")}),
             "tokenizer": {"name": "bpe", "file": "tokenizer.json",
                           "fingerprint": tokenizer.fingerprint}}
    answers = golden_answers(programs, weights, vocab_size=tokenizer.vocab_size, context=context)
    files = documents(restored, weights, about) | {"tokenizer.json": definition}
    return Contents(about, programs, weights, answers, files)


def describe_encoder(restored: Restored, weights: PyTree, about: Mapping[str, Any]) -> Contents:
    """Return the artefact of an image encoder; it reads what the pretext's `plain` returns."""
    shape, dtype = restored.pretext.spec["image"]
    if not isinstance(restored.pretext.plain, Preparation):
        raise ArtefactError("The run's pretext prepares images by code of its own, which an "
                            "artefact cannot carry; make its `plain` a media.Preparation.")
    plain = restored.pretext.plain({"image": np.zeros(shape, dtype), "id": np.zeros(2, np.uint32)})
    image = plain["image"].shape
    about = {**about, "kind": "encoder", "image": {"shape": list(image), "dtype": "float32"},
             "preprocessing": dict(restored.pretext.plain.inputs)}
    programs = lower(restored.model, weights, about)
    answers = golden_answers(programs, weights)
    return Contents(about, programs, weights, answers, documents(restored, weights, about))


def run_tokenizer(restored: Restored) -> tuple[bytes, Any]:
    """Return the tokenizer.json of the run's dataset, and the tokenizer.

    Raises:
        DataError: the file is gone or damaged.
        ArtefactError: it is not the one whose ids the run was trained on.
    """
    path = Path(tokenizer_file(restored.config["source"]))
    tokenizer = bpe.make(path=str(path))
    trained = restored.data["fingerprint"]["tokenizer"]
    if tokenizer.fingerprint != trained:
        raise ArtefactError(f"{path} has changed since training: its sha256 is "
                            f"{tokenizer.fingerprint[:12]}, the run's ids are of {trained[:12]}. "
                            "Put the old dataset back.")
    return path.read_bytes(), tokenizer


def tokenizer_file(source: Mapping[str, Any]) -> str:
    """Return the path of the tokenizer.json that a source's spec names, itself or in its parts.

    Raises:
        ArtefactError: it names none.
    """
    if source.get("tokenizer_path") or source.get("name") == "token_shards":
        return source.get("tokenizer_path") or str(Path(source["path"], "tokenizer.json"))
    if source.get("name") == "bpe":
        return source["path"]
    for nested in (v for v in source.values() if isinstance(v, Mapping)):
        with contextlib.suppress(ArtefactError):
            return tokenizer_file(nested)
    raise ArtefactError("The run's source names no tokenizer.json, which an artefact of a language "
                        "model carries; train on token shards, or set source.tokenizer_path.")


def documents(restored: Restored, weights: PyTree, about: Mapping[str, Any]) -> dict[str, bytes]:
    """Return config.json and the model card."""
    store = evaluate.read(restored.path)
    entry = store["steps"].get(str(restored.step))
    evaluation = entry and {**entry, "baselines": store["baselines"]}
    facts = CardFacts(about, count(weights), restored.config, restored.manifest, evaluation)
    config = json.dumps(restored.config, indent=1, sort_keys=True) + "\n"
    return {"config.json": config.encode(), "README.md": model_card(facts).encode()}
