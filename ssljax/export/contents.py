"""A network and its weights to what an artefact holds, be they of a run or of an import."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ssljax.core.tokenizer import Tokenizer
from ssljax.core.tree import unflatten
from ssljax.core.types import Model, PyTree
from ssljax.export.adapters import Room
from ssljax.export.artefact import Contents
from ssljax.export.golden import golden_answers
from ssljax.export.recipe import lower
from ssljax.nn.stack import unstacked

# From the manifest's own part to more files: config.json, the model card.
Documents = Callable[[Mapping[str, Any]], Mapping[str, bytes]]


class Text(NamedTuple):
    """How a language model reads text.

    definition: the bytes of tokenizer.json
    tokenizer:  what they define
    context:    longest row of tokens, the start token included
    """

    definition: bytes
    tokenizer: Tokenizer
    context: int


def decoder_contents(model: Model, weights: PyTree, about: Mapping[str, Any], text: Text,
                     documents: Documents, *, adapters: Room | None = None) -> Contents:
    """Return the artefact of a language model: its programs, tokenizer and golden answers.

    Args:
        model: the network.
        weights: {"params": ...}, on the host, as they are to be stored, but for stacks of layers:
            each layer has arrays of its own.
        about: name and origin.
        text: its tokenizer.
        documents: more files.
        adapters: room for them; None for none.

    Raises:
        ConfigError: the network has no matrix that adapters change.
    """
    tokenizer = text.tokenizer
    if adapters is not None:
        about = {**about, "adapters": adapters._asdict()}
    weights = {**weights, "params": unstacked(weights["params"])}
    programs = lower(model, weights, {**about, "kind": "decoder"})
    logits, inputs = programs["score"].outputs["logits"], programs["decode"].inputs
    about = {**about, "kind": "decoder", "max_context": text.context,
             "vocab_size": logits["shape"][-1], "end_of_text": tokenizer.end_of_text,
             "cache": unflatten({key.removeprefix("cache/"): spec for key, spec in inputs.items()
                                 if key.startswith("cache/")}),
             "tokenizer": {"name": "bpe", "file": "tokenizer.json", "size": tokenizer.vocab_size,
                           "fingerprint": tokenizer.fingerprint},
             "preprocessing": {"tokens": [
                 {"name": "tokenise", "tokenizer": "tokenizer.json"},
                 {"name": "prepend", "ids": [tokenizer.end_of_text]},
                 {"name": "window", "length": text.context}]},
             # Logits past the tokenizer's ids belong to rows that only pad the table.
             "functions": {"score": {"postprocessing": [
                 {"name": "keep", "output": "logits", "first": tokenizer.vocab_size}]}}}
    answers = golden_answers(programs, weights, vocab_size=tokenizer.vocab_size,
                             context=text.context)
    files = {**documents(about), "tokenizer.json": text.definition}
    return Contents(about, programs, weights, answers, files)


def encoder_contents(model: Model, weights: PyTree, about: Mapping[str, Any], *,
                     image: tuple[int, int, int],
                     preprocessing: Mapping[str, Sequence[Mapping[str, Any]]],
                     documents: Documents) -> Contents:
    """Return the artefact of an image encoder.

    Args:
        model: the network.
        weights: {"params": ...} and perhaps "stats" and "head", on the host.
        about: name and origin.
        image: height, width and channels as the network reads them.
        preprocessing: operations of media/operations.py that lead there.
        documents: more files.
    """
    about = {**about, "kind": "encoder", "image": {"shape": list(image), "dtype": "float32"},
             "preprocessing": dict(preprocessing)}
    programs = lower(model, weights, about)
    return Contents(about, programs, weights, golden_answers(programs, weights), documents(about))
