"""Token shards for language models, which `ssljax.sources.token_shards` reads.

A tokenizer is trained on the train split unless one is given; every document's ids lie end to end
with their offsets. Reads the column "text".
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines import tokenised
from data_pipelines.engine.commit import stage_key
from data_pipelines.ordered import SPLITS
from data_pipelines.target import Made, Ordered, Target
from data_pipelines.tokenised import Definition
from data_pipelines.write_shards import Part, write_bytes, write_split
from ssljax.core.errors import ConfigError
from ssljax.core.files import write_atomic
from ssljax.sources.token_shards import tokens_dtype
from ssljax.tokenizers import bpe, byte

TRAINED, BYTES = "bpe", "byte"          # tokenizers that are not the path of one


def make(*, tokenizer: str = TRAINED, vocab_size: int = 4096, tokenizer_bytes: int = 64_000_000,
         shard_tokens: int = 16_777_216) -> Target:
    """Return the target.

    Args:
        tokenizer: "bpe" trains one; "byte"; or the path of a tokenizer.json.
        vocab_size: ids of a trained tokenizer.
        tokenizer_bytes: of text that it learns from.
        shard_tokens: tokens of a shard, to within a document.

    Raises:
        ConfigError: a size that cannot be.
    """
    for name, value, least in (("shard_tokens", shard_tokens, 1), ("vocab_size", vocab_size,
                               bpe.SMALLEST), ("tokenizer_bytes", tokenizer_bytes, 1)):
        if value < least:
            raise ConfigError(f"recipe.{name} = {value}; expected at least {least}.")
    define = functools.partial(make_tokenizer, tokenizer=tokenizer, vocab_size=vocab_size,
                               limit=tokenizer_bytes)

    def write(given: Ordered) -> Made:
        definition = define(given)
        made = definition.make()
        parts = {s: tokenise(given, s, definition, made.fingerprint) for s in SPLITS}
        item = np.dtype(tokens_dtype(made.vocab_size)).itemsize
        splits = {s: write_split(given.folder, s, parts[s], item, shard_tokens) for s in SPLITS}
        text = Path(definition.path).read_text("utf-8") if definition.path else byte.definition()
        return Made(splits, [write_bytes(given.folder, "tokenizer.json", text.encode())],
                    [place for some in parts.values() for place in places(some)],
                    made.fingerprint, made.fingerprint, made.vocab_size)

    trained = ("train tokenizer",) if tokenizer == TRAINED else ()
    return Target(("text",), write, (*trained, *(f"tokenise {s}" for s in SPLITS)))


def make_tokenizer(given: Ordered, *, tokenizer: str, vocab_size: int, limit: int) -> Definition:
    """Return the tokenizer, trained on the train split if at all."""
    if tokenizer == BYTES:
        return Definition("")
    if tokenizer != TRAINED:
        return Definition(tokenizer)
    engine, files = given.engine, given.files["train"]
    path = engine.folder / f"{stage_key('tokenizer', files, limit, vocab_size)}.json"
    engine.report("train tokenizer", 0, 1, "")
    if not path.exists():
        texts = tokenised.training_texts(files, given.partitions, limit)
        write_atomic(path, bpe.train(texts, vocab_size=vocab_size).encode())
    engine.report("train tokenizer", 1, 1, f"{bpe.make(path=str(path)).vocab_size:,} ids")
    return Definition(str(path))


def tokenise(given: Ordered, split: str, definition: Definition, fingerprint: str) -> list[Part]:
    """Return the tokenised partitions of a split."""
    key = stage_key("tokenise", given.blocks.key, given.partitions, split, fingerprint)
    calls = [(tokenised.tokenise, {"paths": given.files[split], "partition": p,
                                   "tokenizer": definition, "starts": given.blocks.starts()})
             for p in range(given.partitions)]
    return [Part(*p) for p in given.engine.stage(
        key, f"tokenise {split}", calls, lambda said: f"{sum(t['tokens'] for t in said):,} tokens")]


def places(parts: Sequence[Part]) -> list[tuple[str, int]]:
    """Return the file of places of each partition of a split, and its first record's number."""
    before = np.cumsum([0, *(p.told["documents"] for p in parts)]).tolist()
    return [(f"{part.folder}/places.arrow", base) for part, base in zip(parts, before)]
