"""A recipe, from raw files to a dataset: list, run the steps, train the tokenizer, write, publish.

Reads a folder of text; returns the manifest of the dataset that `ssljax.sources.token_shards`
opens. Nothing is done twice: where the output is what the recipe makes of this input, it stays.
Everything is held in memory at once, some twelve times the text.
"""

import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_pipelines.listing import Listing, list_files
from data_pipelines.output import Existing, check_output, claim, publish
from data_pipelines.progress import Report, silent
from data_pipelines.recipe import (
    BYTES,
    TRAINED,
    Recipe,
    hash_plain,
    identity,
    read_recipe,
    resolve_steps,
)
from data_pipelines.table import Step, column, count_dropped, kept
from data_pipelines.write_shards import (
    SPLITS,
    Written,
    batches,
    shuffled,
    write_bytes,
    write_documents,
    write_split,
)
from ssljax.core.config import find_make
from ssljax.core.errors import DataError
from ssljax.core.tokenizer import Tokenizer
from ssljax.sources.manifest import File, Manifest, content_version, write_manifest
from ssljax.tokenizers import bpe, byte

PIECE = 256                    # rows that a step which judges each alone is handed at a time


def curate(config: Mapping[str, Any], progress: Report = silent, *,
           existing: Existing = "keep") -> Manifest:
    """Make the dataset of a recipe, or find it made.

    Args:
        config: plain data, the fields of `Recipe`.
        progress: told (stage, done, total, note) as it goes.
        existing: "keep" refuses an output that holds another dataset; "replace" exchanges it
            once the new one is whole.

    Raises:
        ConfigError: the recipe cannot work; nothing was read.
        DataError: the input has nothing to keep, or the output is taken; nothing was changed.
    """
    recipe = read_recipe(config)
    steps = resolve_steps(recipe)
    files = list_files(recipe.input, without=recipe.output)
    output = Path(recipe.output)
    wanted = (hash_plain(identity(recipe)), files.hash, existing)
    found = check_output(output, *wanted)
    if found is None:
        with claim(output) as partial:
            found = check_output(output, *wanted)
            if found is None:
                manifest = make_dataset(recipe, files, steps, partial, progress)
                publish(partial, output)
                return manifest
    progress("unchanged", found.read, found.read, "nothing to do")
    return found


def make_dataset(recipe: Recipe, files: Listing, steps: Sequence[tuple[str, Step]], folder: Path,
                 report: Report) -> Manifest:
    """Run the recipe and write the dataset into the empty `folder`."""
    table = run_steps(steps, files.files, report)
    check_splits(recipe, table)
    definition, tokenizer = make_tokenizer(recipe, table, report)
    splits = {s: write_split(folder, table, s, tokenizer, recipe.shard_tokens, report)
              for s in SPLITS}
    others = (write_bytes(folder, "tokenizer.json", definition.encode()),
              write_documents(folder, table, splits.values()))
    manifest = describe(recipe, files, table, tokenizer, splits, others)
    write_manifest(folder, manifest)
    return manifest


def run_steps(steps: Sequence[tuple[str, Step]], table: pa.Table, report: Report) -> pa.Table:
    """Run steps one after the other, reporting what each left."""
    for name, step in steps:
        total = table.num_rows
        report(name, 0, total, "")
        done = 0
        parts = []
        for part in pieces(name, table):
            parts.append(step(part))
            done += part.num_rows
            report(name, done, total, "")
        table = pa.concat_tables(parts)
        left = len(kept(table)) if "dropped" in table.schema.names else table.num_rows
        report(name, total, total, f"{left:,} of {table.num_rows:,} documents left")
    return table


def pieces(name: str, table: pa.Table) -> Iterator[pa.Table]:
    """Yield the table in the pieces that a step may be handed; one where rows depend on others."""
    module = sys.modules[find_make("steps", name, root="data_pipelines").__module__]
    size = PIECE if getattr(module, "ROWWISE", False) else max(1, table.num_rows)
    for start in range(0, max(1, table.num_rows), size):
        yield table.slice(start, size)


def check_splits(recipe: Recipe, table: pa.Table) -> None:
    """Raise DataError unless both splits have a document; say what went where."""
    sizes = Counter(column(table, "split"))
    if all(sizes[s] for s in SPLITS):
        return
    counts = ", ".join(f"{reason} {n}" for reason, n in count_dropped(table).items()) or "nothing"
    read, left = table.num_rows, len(kept(table))
    empty = next(s for s in SPLITS if not sizes[s])
    fix = ("Give other input, or loosen the rule that drops most, such as "
           "--config.options.quality.min_words=5." if not left else
           "Give more documents that are not copies of each other, or end the recipe with `split`.")
    raise DataError(f"{recipe.input}: of {read} documents read, {left} are kept, and the {empty} "
                    f"split is empty. Dropped: {counts}. {fix}")


def make_tokenizer(recipe: Recipe, table: pa.Table, report: Report) -> tuple[str, Tokenizer]:
    """Return the definition and the tokenizer of a recipe, trained on the train split if at all."""
    if recipe.tokenizer == BYTES:
        return byte.definition(), byte.make()
    if recipe.tokenizer != TRAINED:
        tokenizer = bpe.make(path=recipe.tokenizer)
        return Path(recipe.tokenizer).read_text("utf-8"), tokenizer
    report("train tokenizer", 0, 1, "")
    definition = bpe.train(first_bytes(table, recipe.tokenizer_bytes), vocab_size=recipe.vocab_size)
    tokenizer = bpe.from_json(definition)
    report("train tokenizer", 1, 1, f"{tokenizer.vocab_size:,} ids")
    return definition, tokenizer


def first_bytes(table: pa.Table, limit: int) -> Iterator[str]:
    """Yield training texts in their shuffled order, up to the one that reaches `limit` bytes."""
    texts = itertools.chain.from_iterable(batches(table, shuffled(table, "train")))
    taken = 0
    for text in texts:
        yield text
        taken += len(text.encode())
        if taken >= limit:
            return


def describe(recipe: Recipe, files: Listing, table: pa.Table, tokenizer: Tokenizer,
             splits: Mapping[str, Written], others: Sequence[File]) -> Manifest:
    """Return the manifest of what was written."""
    rows = kept(table)
    licences = Counter(table["licence"].take(pa.array(rows)).to_pylist())
    shards = tuple(shard for written in splits.values() for shard in written.shards)
    written = (*(file for w in splits.values() for file in w.files), *others)
    source: dict[str, Any] = {"path": recipe.input, "listing": files.hash, "bytes": files.bytes,
                              "files": files.files.num_rows, "ignored": files.ignored}
    return Manifest(
        name=recipe.name, version=content_version((*shards, *written)), parents=(source,),
        licences=dict(sorted(licences.items())), recipe=identity(recipe),
        recipe_hash=hash_plain(identity(recipe)), tokenizer_hash=tokenizer.fingerprint,
        vocab_size=tokenizer.vocab_size, splits={s: w.summary() for s, w in splits.items()},
        shards=shards, files=written, read=table.num_rows, kept=len(rows),
        dropped=count_dropped(table))
