"""Compose a run from its config: the one place where packages of equal rank meet."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from ssljax.core.config import resolve
from ssljax.core.errors import ConfigError
from ssljax.core.source import SizedSource, Source
from ssljax.core.tokenizer import Tokenizer
from ssljax.core.types import Evaluator, Key, Model, Objective, Pretext, TrainState
from ssljax.data.packing import packed
from ssljax.data.stream import Stream
from ssljax.tokenizers import bpe
from ssljax.train.state import init_fn


@dataclasses.dataclass(frozen=True)
class Method:
    """What is learned: everything of a run but its data and devices."""

    pretext: Pretext
    model: Model
    objective: Objective
    tx: optax.GradientTransformation
    learning_rate: Callable[[int], float]
    init: Callable[[Key], TrainState]
    key: Key


def build_method(config: Mapping[str, Any]) -> Method:
    """Return the method of a plain config; compiles nothing and reads no data."""
    model = resolve("models", config["model"])
    objective = resolve("objectives", config["objective"], model)
    pretext = resolve("pretext", config["pretext"])
    schedule = resolve("schedules", config["schedule"], config["total_steps"])
    tx = resolve("optim", config["optim"], schedule)
    init = init_fn(objective, tx, pretext.views, pretext.spec, config["batch_size"])
    return Method(pretext, model, objective, tx,
                  lambda step: float(config["optim"]["lr"] * schedule(step)), init,
                  jax.random.key(config["seed"]))


def load_tokenizer(source: Source) -> Tokenizer:
    """Return the tokenizer that a text source's ids were made with."""
    return bpe.make(path=source.tokenizer_path)


def check_vocabulary(config: Mapping[str, Any], tokenizer: Tokenizer) -> None:
    """Raise ConfigError if the model's table has no row for some id of the tokenizer."""
    size = config["model"].get("vocab_size", tokenizer.vocab_size)
    if size < tokenizer.vocab_size:
        raise ConfigError(f"model.vocab_size {size} is smaller than the dataset's vocabulary of "
                          f"{tokenizer.vocab_size}; use --config.model.vocab_size="
                          f"{-(-tokenizer.vocab_size // 64) * 64}.")


def build_stream(config: Mapping[str, Any], pretext: Pretext) -> Stream:
    """Return the data stream of a plain config.

    A pretext that reads rows of packed documents (it has segment_ids) gets its source packed.
    """
    source = resolve("sources", config["source"])
    if "segment_ids" in pretext.spec:
        if not isinstance(source, SizedSource):
            raise ConfigError(f"pretext {config['pretext']['name']!r} packs documents, but source "
                              f"{config['source']['name']!r} does not know their lengths.")
        tokenizer = load_tokenizer(source)
        check_vocabulary(config, tokenizer)
        (seq_len,), _ = pretext.spec["tokens"]
        source = packed(source, seq_len=seq_len, end_of_text=tokenizer.end_of_text,
                        seed=config["seed"])
    return Stream(source, pretext.example, config["batch_size"], config["seed"])


def build_evaluators(config: Mapping[str, Any], method: Method) -> dict[str, Evaluator]:
    """Return label -> evaluator of a plain config."""
    return {label: resolve("evals", spec, method.objective, where=f"evals.{label}",
                           model=method.model, plain=method.pretext.plain)
            for label, spec in config.get("evals", {}).items()}


def work_per_step(config: Mapping[str, Any], pretext: Pretext) -> tuple[int, str]:
    """Return how many (units, "tokens" or "images") a step consumes, padding included."""
    if "tokens" in pretext.spec:
        (seq_len,), _ = pretext.spec["tokens"]
        return config["batch_size"] * seq_len, "tokens"
    return config["batch_size"], "images"
