"""A recipe, from raw files to a dataset: list, run the steps, train the tokenizer, write, publish.

Reads a folder of text; returns the manifest of the dataset that `ssljax.sources.token_shards`
opens. Nothing is done twice: where the output is what the recipe makes of this input, it stays, and
a run that was killed continues from `.<name>.work`, which goes when the dataset is there. Memory is
that of one block of documents a worker, and the bytes do not depend on workers or blocks.
"""

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from data_pipelines import tokenised
from data_pipelines.corpus import make_corpus
from data_pipelines.engine.blocks import Blocks
from data_pipelines.engine.commit import code_version, stage_key
from data_pipelines.engine.engine import Engine
from data_pipelines.engine.local import Local
from data_pipelines.listing import Listing, list_files
from data_pipelines.output import Existing, check_output, claim, publish, sibling
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
from data_pipelines.snapshots.catalog import FOLDER, open_catalog
from data_pipelines.snapshots.versions import commit_version, properties_of
from data_pipelines.tokenised import SPLITS, Definition, total_of
from data_pipelines.write_shards import (
    Part,
    Written,
    write_bytes,
    write_documents,
    write_split,
)
from ssljax.core.errors import DataError
from ssljax.core.files import write_atomic
from ssljax.sources.manifest import File, Manifest, content_version, write_manifest
from ssljax.sources.token_shards import tokens_dtype
from ssljax.tokenizers import bpe, byte

SMALL = 8 << 20                # bytes of input that one process has read before others have started


class Sizes(NamedTuple):
    """How the work is cut, in bytes of text; the dataset does not depend on it."""

    block: int = 16 << 20
    partition: int = 64 << 20
    files: int = 64 << 20


def curate(config: Mapping[str, Any], progress: Report = silent, *, existing: Existing = "keep",
           workers: int = 0, sizes: Sizes | None = None) -> Manifest:
    """Make the dataset of a recipe, or find it made.

    Args:
        config: plain data, the fields of `Recipe`.
        progress: told (stage, done, total, note) as it goes.
        existing: "keep" refuses an output that holds another dataset; "replace" exchanges it
            once the new one is whole.
        workers: processes; 0: one for each core we may use, one for little input.
        sizes: how the work is cut.

    Raises:
        ConfigError: the recipe cannot work; nothing was read.
        DataError: the input has nothing to keep, or the output is taken; nothing was changed.
    """
    recipe = read_recipe(config)
    resolve_steps(recipe)
    files = list_files(recipe.input, without=[recipe.output, catalog_folder(recipe)])
    output = Path(recipe.output)
    wanted = (hash_plain(identity(recipe)), files.hash, existing)
    found = check_output(output, *wanted)
    if found is None:
        with claim(output) as partial:
            found = check_output(output, *wanted)
            if found is None:
                sizes = sizes or Sizes()
                work = sibling(output, "work")
                executor = Local(workers or default_workers(files))
                engine = Engine(work, executor=executor, block_bytes=sizes.block,
                                partition_bytes=sizes.partition, report=progress)
                try:
                    manifest = make_dataset(recipe, files, partial, engine, sizes)
                finally:
                    executor.close()
                publish(partial, output)
                shutil.rmtree(work, ignore_errors=True)
                return manifest
    clear_work(output)
    progress("unchanged", found.read, found.read, "nothing to do")
    return found


def clear_work(output: Path) -> None:
    """Remove the work of a run that was killed after it had published, unless another works now."""
    work = sibling(output, "work")
    if work.exists():
        with contextlib.suppress(DataError), claim(output):
            shutil.rmtree(work, ignore_errors=True)


def catalog_folder(recipe: Recipe) -> str:
    """Return the folder of the embedded catalog, beside the output."""
    return str(Path(recipe.output).parent / FOLDER)


def default_workers(files: Listing) -> int:
    """Return the processes worth starting for some input."""
    return len(os.sched_getaffinity(0)) if files.bytes > SMALL else 1


def make_dataset(recipe: Recipe, files: Listing, folder: Path, engine: Engine,
                 sizes: Sizes) -> Manifest:
    """Run the recipe and write the dataset into the empty `folder`."""
    blocks = make_corpus(recipe, files.files, engine, sizes.files)
    ordered, counts = order(blocks, engine)
    check_splits(recipe, counts)
    definition = make_tokenizer(recipe, ordered, engine)
    tokenizer = definition.make()
    parts = {s: tokenise(blocks, s, ordered[s], definition, tokenizer.fingerprint, engine)
             for s in SPLITS}
    accounts = account(blocks, parts, tokenizer.fingerprint, engine)
    item = np.dtype(tokens_dtype(tokenizer.vocab_size)).itemsize
    splits = {s: write_split(folder, s, parts[s], item, recipe.shard_tokens) for s in SPLITS}
    text = Path(definition.path).read_text("utf-8") if definition.path else byte.definition()
    others = (write_bytes(folder, "tokenizer.json", text.encode()),
              write_documents(folder, accounts))
    manifest = describe(recipe, files, counts, tokenizer, splits, others)
    keep_version(recipe, manifest, accounts)
    write_manifest(folder, manifest)
    return manifest


def keep_version(recipe: Recipe, manifest: Manifest, accounts: Sequence[str]) -> None:
    """Commit every row to the recipe's table, as the version that the manifest names."""
    catalog = open_catalog(Path(catalog_folder(recipe)), recipe.catalog)
    try:
        commit_version(catalog, recipe.name, [f"{a}/rows.parquet" for a in accounts],
                       properties_of(manifest.version, manifest.recipe, manifest.parents,
                                     code_version()))
    finally:
        catalog.close()


def partitions_of(blocks: Blocks, engine: Engine) -> int:
    """Return into how many ranges the documents of a split are cut."""
    return max(1, -(-blocks.bytes // engine.partition_bytes))


def order(blocks: Blocks, engine: Engine) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Return the files of each split's documents, and the counts of what was kept and dropped."""
    count = partitions_of(blocks, engine)
    done = engine.stage(stage_key("order", blocks.key, count), "",
                        [(tokenised.order, {**p, "partitions": count})
                         for p in engine.places(blocks)])
    said = [told for _, told in done]
    counts = {n: total_of(said, n) for n in ("licences", "dropped", "splits")}
    counts |= {n: sum(t[n] for t in said) for n in ("rows", "kept")}
    if counts["rows"] != counts["kept"] + sum(counts["dropped"].values()):
        raise DataError(f"{counts['rows']} documents were read, {counts['kept']} kept and "
                        f"{counts['dropped']} dropped, which is not all; please report this.")
    return {s: [f"{folder}/{s}.arrow" for folder, _ in done] for s in SPLITS}, counts


def check_splits(recipe: Recipe, counts: Mapping[str, Any]) -> None:
    """Raise DataError unless both splits have a document; say what went where."""
    sizes = counts["splits"]
    if all(sizes[s] for s in SPLITS):
        return
    dropped = ", ".join(f"{reason} {n}" for reason, n in counts["dropped"].items()) or "nothing"
    read, left = counts["rows"], counts["kept"]
    empty = next(s for s in SPLITS if not sizes[s])
    fix = ("Give other input, or loosen the rule that drops most, such as "
           "--config.options.quality.min_words=5." if not left else
           "Give more documents that are not copies of each other, or end the recipe with `split`.")
    raise DataError(f"{recipe.input}: of {read} documents read, {left} are kept, and the {empty} "
                    f"split is empty. Dropped: {dropped}. {fix}")


def make_tokenizer(recipe: Recipe, ordered: Mapping[str, Sequence[str]],
                   engine: Engine) -> Definition:
    """Return the recipe's tokenizer, trained on the train split if at all."""
    if recipe.tokenizer == BYTES:
        return Definition("")
    if recipe.tokenizer != TRAINED:
        return Definition(recipe.tokenizer)
    key = stage_key("tokenizer", ordered["train"], recipe.tokenizer_bytes, recipe.vocab_size)
    path = engine.folder / f"{key}.json"
    engine.report("train tokenizer", 0, 1, "")
    if not path.exists():
        with pa.OSFile(ordered["train"][0]) as file, pa.ipc.open_file(file) as first:
            count = first.num_record_batches
        texts = tokenised.training_texts(ordered["train"], count, recipe.tokenizer_bytes)
        write_atomic(path, bpe.train(texts, vocab_size=recipe.vocab_size).encode())
    engine.report("train tokenizer", 1, 1, f"{bpe.make(path=str(path)).vocab_size:,} ids")
    return Definition(str(path))


def tokenise(blocks: Blocks, split: str, ordered: Sequence[str], definition: Definition,
             fingerprint: str, engine: Engine) -> list[Part]:
    """Return the tokenised partitions of a split."""
    count = partitions_of(blocks, engine)
    key = stage_key("tokenise", blocks.key, count, split, fingerprint)
    calls = [(tokenised.tokenise, {"paths": ordered, "partition": p, "tokenizer": definition,
                                   "starts": blocks.starts()}) for p in range(count)]
    return [Part(*p) for p in engine.stage(
        key, f"tokenise {split}", calls, lambda said: f"{sum(t['tokens'] for t in said):,} tokens")]


def account(blocks: Blocks, parts: Mapping[str, Sequence[Part]], fingerprint: str,
            engine: Engine) -> list[str]:
    """Return the folders of what became of every block's rows."""
    places = []
    for some in parts.values():
        base = 0
        for part in some:
            places.append((f"{part.folder}/places.arrow", base))
            base += part.told["documents"]
    done = engine.stage(stage_key("account", blocks.key, fingerprint, len(places)), "",
                        [(tokenised.account, {**p, "places": places})
                         for p in engine.places(blocks)])
    return [folder for folder, _ in done]


def describe(recipe: Recipe, files: Listing, counts: Mapping[str, Any], tokenizer: Any,
             splits: Mapping[str, Written], others: Sequence[File]) -> Manifest:
    """Return the manifest of what was written."""
    shards = tuple(shard for written in splits.values() for shard in written.shards)
    written = (*(file for w in splits.values() for file in w.files), *others)
    source: dict[str, Any] = {"path": recipe.input, "listing": files.hash, "bytes": files.bytes,
                              "files": files.files.num_rows, "ignored": files.ignored,
                              "table": recipe.name,
                              "version": content_version((*shards, *written))}
    return Manifest(
        name=recipe.name, version=source["version"], parents=(source,),
        licences=dict(sorted(counts["licences"].items())), recipe=identity(recipe),
        recipe_hash=hash_plain(identity(recipe)), tokenizer_hash=tokenizer.fingerprint,
        vocab_size=tokenizer.vocab_size, splits={s: w.summary for s, w in splits.items()},
        shards=shards, files=written, read=counts["rows"], kept=counts["kept"],
        dropped=counts["dropped"])
