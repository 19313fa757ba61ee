"""Compose a run from its config: the one place where packages of equal rank meet."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from ssljax.core.cache import hash_plain, users_folder
from ssljax.core.config import resolve
from ssljax.core.errors import ConfigError, DataError
from ssljax.core.source import Source, Vocabulary
from ssljax.core.tokenizer import Tokenizer
from ssljax.core.types import Key, Model, Objective, Pretext, TrainState
from ssljax.data.mixture import make_schedule
from ssljax.data.packing import packed
from ssljax.data.stream import Stream
from ssljax.optim.compose import compose
from ssljax.sources.mixture import Mixture
from ssljax.tokenizers import bpe
from ssljax.train.layout import Layout, partition
from ssljax.train.state import init_fn
from ssljax.train.step import TrainStep, make_train_step


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
    layout: Layout


def dotted_names(spec: Any) -> list[str]:
    """Return the modules outside ssljax that a spec, or one nested in it, names."""
    if not isinstance(spec, Mapping):
        return []
    name = spec.get("name", "")
    own = [name] if isinstance(name, str) and "." in name else []
    return own + [n for value in spec.values() for n in dotted_names(value)]


def build_method(config: Mapping[str, Any]) -> Method:
    """Return the method of a plain config; compiles nothing and reads no data."""
    model = resolve("models", config["model"])
    objective = resolve("objectives", config["objective"], model,
                        total_steps=config["total_steps"])
    pretext = resolve("pretext", config["pretext"])
    schedule = resolve("schedules", config["schedule"], config["total_steps"])
    tx = compose(config["optim"], schedule, model.lr_scales, config["total_steps"])
    init = init_fn(objective, tx, pretext.views, pretext.spec, config["batch_size"])
    outside = dotted_names(config["model"]) + dotted_names(config["objective"])
    layout = Layout(partition(outside), config.get("zero1", False))
    return Method(pretext, model, objective, tx,
                  lambda step: float(config["optim"]["lr"] * schedule(step)), init,
                  jax.random.key(config["seed"]), layout)


def build_train_step(config: Mapping[str, Any], method: Method) -> TrainStep:
    """Return the step of a plain config with its defaults: what `pretrain` runs, `plan` counts."""
    return make_train_step(
        method.objective, method.tx, views=method.pretext.views, accumulate=config["accumulate"],
        compute_dtype=config["compute_dtype"], spike_factor=config["spike_factor"],
        log_steps=config["log_steps"], total_steps=config["total_steps"],
        layout=method.layout)


def cache_folder(config: Mapping[str, Any]) -> str:
    """Return the folder of packing plans, verdicts and copies: config.cache, or the user's."""
    return os.path.expanduser(config.get("cache") or users_folder())


def load_source(config: Mapping[str, Any]) -> Source:
    """Return the source of a plain config.

    Raises:
        ConfigError: what it names is no source.
    """
    source = resolve("sources", config["source"], cache=cache_folder(config))
    if isinstance(source, Source):
        return source
    raise ConfigError(f"source {config['source']['name']!r} made a {type(source).__name__}; "
                      "expected records by index (ssljax.core.source.Source). Name it as the "
                      "dataset of an `indexed` source if it has an index, or as the stream of a "
                      "`materialised` one.")


def load_tokenizer(source: Source) -> Tokenizer:
    """Return the tokenizer that a text source's ids were made with."""
    return bpe.make(path=source.tokenizer_path)


def vocabulary_of(source: Source, where: str) -> Vocabulary:
    """Return what packing must know of a source's ids.

    Raises:
        ConfigError: the source does not say which tokenizer made them.
    """
    if getattr(source, "tokenizer_path", ""):
        tokenizer = load_tokenizer(source)
        return Vocabulary(tokenizer.vocab_size, tokenizer.end_of_text, tokenizer.fingerprint)
    if getattr(source, "vocabulary", None):
        return source.vocabulary
    raise ConfigError(f"{where} does not say which tokenizer made its tokens; set its "
                      "tokenizer_path, or put a `tokenised` source around its texts.")


def check_vocabulary(config: Mapping[str, Any], vocabulary: Vocabulary) -> None:
    """Raise ConfigError if the model's table has no row for some id of the vocabulary."""
    size = config["model"].get("vocab_size", vocabulary.size)
    if size < vocabulary.size:
        raise ConfigError(f"model.vocab_size {size} is smaller than the dataset's vocabulary of "
                          f"{vocabulary.size}; use --config.model.vocab_size="
                          f"{-(-vocabulary.size // 64) * 64}.")


def shared_vocabulary(parts: Mapping[str, Source]) -> Vocabulary:
    """Return the vocabulary of all parts.

    Raises:
        ConfigError: two parts have different ones: equal ids would mean different texts.
    """
    found = {name: vocabulary_of(part, f"source {name!r}") for name, part in parts.items()}
    (first, one), *others = found.items()
    for name, other in others:
        if other != one:
            raise ConfigError(
                f'Parts "{first}" and "{name}" of the mixture have different tokenizers '
                f"({one.fingerprint[:12]} of {one.size} ids, {other.fingerprint[:12]} of "
                f"{other.size}): one id would mean two things. Curate one with the tokenizer of "
                "the other: `ssljax curate --config.tokenizer=PATH/tokenizer.json`.")
    return one


def build_stream(config: Mapping[str, Any], pretext: Pretext) -> Stream:
    """Return the data stream of a plain config.

    A pretext that reads rows of packed documents (it has segment_ids) gets every part packed.

    Raises:
        ConfigError: the parts do not fit together, or the model.
        DataError: a part is missing, damaged or empty.
    """
    source, cache = load_source(config), cache_folder(config)
    mixture = source if isinstance(source, Mixture) else Mixture({"data": source}, ((0, (1.0,)),))
    parts = dict(mixture.parts)
    if "segment_ids" in pretext.spec:
        vocabulary = shared_vocabulary(parts)
        check_vocabulary(config, vocabulary)
        (seq_len,), _ = pretext.spec["tokens"]
        parts = {name: packed(part, seq_len=seq_len, end_of_text=vocabulary.end_of_text,
                              seed=config["seed"], method=config.get("packing", "best_fit"),
                              cache=cache) for name, part in parts.items()}
    for name, part in parts.items():
        if not len(part):
            raise DataError(f"Part {name!r} of the data is empty: {dict(part.fingerprint())}.")
    size = config["batch_size"]
    schedule = make_schedule([(step * size, weights) for step, weights in mixture.stages])
    return Stream(parts, pretext.example, size, config["seed"], schedule,
                  {"pretext": hash_plain(config["pretext"])[:12]})


def work_per_step(config: Mapping[str, Any], pretext: Pretext) -> tuple[int, str]:
    """Return how many (units, "tokens" or "images") a step consumes, padding included.

    Captions are not counted: an image and its text are one image.
    """
    if "tokens" in pretext.spec and "image" not in pretext.spec:
        (seq_len,), _ = pretext.spec["tokens"]
        return config["batch_size"] * seq_len, "tokens"
    return config["batch_size"], "images"
