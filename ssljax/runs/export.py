"""A run's checkpoint to an artefact that runs without this repository."""

import contextlib
import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from ssljax.core.errors import ArtefactError
from ssljax.core.tree import cast_floating, count
from ssljax.core.types import PyTree
from ssljax.export.adapters import Room
from ssljax.export.artefact import Contents, check_place, write_artefact
from ssljax.export.contents import Text, decoder_contents, encoder_contents
from ssljax.export.model_card import CardFacts, model_card
from ssljax.export.quality import decoder_difference, encoder_difference
from ssljax.export.quantise import Kind
from ssljax.export.weights import SHARD
from ssljax.media.operations import Preparation
from ssljax.runs import evaluate
from ssljax.runs.linear_head import linear_head
from ssljax.runs.restore import Restored, load_run
from ssljax.runs.rounding import rounded
from ssljax.tokenizers import bpe

TEMPLATE = "chat_template.jinja"
NATIVE = "native"


def export_run(run_dir: str | Path, output: str | Path, *, step: int | None = None,
               name: str | None = None, quantize: Kind | None = None, judge: bool = False,
               classify: str | None = None, shard: int = SHARD,
               key: Path | None = None, target: str = NATIVE, chat: Path | None = None,
               chat_stop: Sequence[str] = (), adapters: Room | None = None) -> dict[str, Any]:
    """Write the artefact of a run, or what it holds in the form of another library.

    Args:
        run_dir: the folder it was trained in.
        output: the artefact's folder; an older artefact there is replaced.
        step: which checkpoint; the newest sound one unless told.
        name: what the model is called; the run's folder unless told.
        quantize: round matrices to "int8" or "fp8", and say what that changes.
        judge: say it by the run's own evaluators too, which takes as long as they take.
        classify: of encoders, the linear evaluator of the run's config whose classifier becomes
            the function `classify`.
        shard: bytes of a file of weights at most.
        key: PEM file of the Ed25519 key that signs the artefact.
        target: "native", or a file of ssljax/export whose `write` takes what an artefact holds.
        chat: of language models, the chat template (Jinja2) that messages go through.
        chat_stop: strings that end what the model says, beside its end token.
        adapters: of language models, room for low-rank adapters that a server loads; None for none.

    Returns:
        "path", "name", "kind", "step", "parameters", "bytes", "functions" {name: bytes}, and
        "quantisation", what the manifest says of it, or None.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged.
        DataError: the dataset's tokenizer is gone or damaged.
        ArtefactError: the tokenizer is not the one of training, `output` is something else, or
            the key is none.
        ConfigError: the run has no such evaluator.
    """
    if target == NATIVE:
        check_place(Path(output))                    # before the part that takes long
    elif key:
        raise ArtefactError(f"Only artefacts are signed; target {target} is none.")
    if adapters and target != NATIVE:
        raise ArtefactError(f"Target {target} has no form for adapters; leave --adapters out.")
    restored = load_run(run_dir, step)
    # Decoders of pixels generate too, but what they are exported for is encoding images.
    text = restored.model.init_cache is not None and "image" not in restored.pretext.spec
    if text and classify:
        raise ArtefactError(f"{run_dir} is a language model; classify is for encoders.")
    if not text and adapters:
        raise ArtefactError(f"{run_dir} is an encoder; adapters are for language models.")
    options = Options(quantize, judge, classify, read_chat(chat, chat_stop) if chat else None,
                      adapters)
    describe = describe_decoder if text else describe_encoder
    contents = describe(restored, lineage(restored, name), options)
    if target == NATIVE:
        manifest = write_artefact(Path(output), contents, shard=shard, key=key)
    else:
        manifest = importlib.import_module(f"ssljax.export.{target}").write(Path(output), contents)
    sizes = {file: entry["bytes"] for file, entry in manifest["files"].items()}
    logging.info("Exported step %d of %s to %s.", restored.step, run_dir, output)
    return {"path": str(output), "name": manifest["name"], "kind": manifest["kind"],
            "step": restored.step, "parameters": contents.about["parameters"],
            "bytes": sum(sizes.values()),
            "functions": {key: sizes[spec["file"]] for key, spec in manifest["functions"].items()},
            "quantisation": manifest.get("quantisation")}


class Chat(NamedTuple):
    """How a language model is talked to: a Jinja2 template, and strings that end an answer."""

    template: bytes
    stop: tuple[str, ...]


class Options(NamedTuple):
    """What becomes of the weights on their way: the arguments of `export_run`."""

    quantize: Kind | None
    judge: bool
    classify: str | None
    chat: Chat | None
    adapters: Room | None


def read_chat(path: Path, stop: Sequence[str]) -> Chat:
    """Return how a model is talked to.

    Raises:
        ArtefactError: the template cannot be read.
    """
    try:
        return Chat(path.read_bytes(), tuple(stop))
    except OSError as err:
        raise ArtefactError(f"Chat template {path} cannot be read: {err.strerror}.") from err


def host_weights(restored: Restored) -> dict[str, PyTree]:
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
    return {"name": name or restored.path.name, "recipe": {"config": "config.json"}, "lineage": {
        "run": restored.path.name, "step": restored.step,
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "dataset": {key: data.get(key) for key in ("name", "version")},
        # What the stream of the run was made of, part by part: what a version cannot say of data
        # without a manifest.
        "data": restored.data.get("fingerprint"),
        "versions": restored.versions}}


def describe_decoder(restored: Restored, about: dict[str, Any], options: Options) -> Contents:
    """Return the artefact of a language model."""
    definition, tokenizer = run_tokenizer(restored)
    (context,), _ = restored.pretext.spec["tokens"]
    weights = host_weights(restored)
    about["parameters"] = count(weights)
    if options.quantize:
        weights, about["quantisation"] = rounded(
            restored, weights, options.quantize, judge=options.judge,
            moved=lambda before, after: decoder_difference(
                restored.model, before, after, vocab_size=tokenizer.vocab_size, context=context))
    template = {}
    if options.chat:
        about["chat"] = {"template": TEMPLATE, "stop": list(options.chat.stop)}
        template = {TEMPLATE: options.chat.template}
    return decoder_contents(restored.model, weights, about, Text(definition, tokenizer, context),
                            lambda about: documents(restored, about) | template,
                            adapters=options.adapters)


def describe_encoder(restored: Restored, about: dict[str, Any], options: Options) -> Contents:
    """Return the artefact of an image encoder; it reads what the pretext's `plain` returns.

    Raises:
        ArtefactError: that is code, and no declared operations.
    """
    shape, dtype = restored.pretext.spec["image"]
    plain = restored.pretext.plain
    if not isinstance(plain, Preparation):
        raise ArtefactError("The run's pretext prepares images by code of its own, which an "
                            "artefact cannot carry; make its `plain` a media.Preparation.")
    image = plain({"image": np.zeros(shape, dtype), "id": np.zeros(2, np.uint32)})["image"].shape
    weights, head = host_weights(restored), {}
    about["parameters"] = count(weights)
    if options.classify:
        found = linear_head(restored, weights, options.classify)
        head["head"] = dict(found.weights)
        about["functions"] = {"classify": {
            **found.facts, "postprocessing": [{"name": "softmax", "output": "logits"}]}}
    if options.quantize:
        weights, about["quantisation"] = rounded(
            restored, weights, options.quantize, judge=options.judge,
            moved=lambda before, after: encoder_difference(
                restored.model, before, after, image=image))
    return encoder_contents(restored.model, weights | head, about, image=image,
                            preprocessing=plain.inputs,
                            documents=lambda about: documents(restored, about))


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


def documents(restored: Restored, about: Mapping[str, Any]) -> dict[str, bytes]:
    """Return config.json and the model card."""
    store = evaluate.read(restored.path)
    entry = store["steps"].get(str(restored.step))
    evaluation = entry and {**entry, "baselines": store["baselines"]}
    facts = CardFacts(about, about["parameters"], restored.config, restored.manifest, evaluation)
    config = json.dumps(restored.config, indent=1, sort_keys=True) + "\n"
    return {"config.json": config.encode(), "README.md": model_card(facts).encode()}
