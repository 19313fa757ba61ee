"""A recipe, from raw files to a dataset: list, run the steps, write what the target says, publish.

Reads what the recipe's first step reads; returns the manifest of the dataset, which the sources of
`ssljax pretrain` open. Nothing is done twice: where the output is what the recipe makes of this
input, it stays, and a run that was killed continues from `.<name>.work`, which goes when the
dataset is there. Memory is that of one block of documents a worker, and the bytes do not depend on
workers or blocks.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines import corpus, ordered
from data_pipelines.corpus import make_corpus
from data_pipelines.engine.blocks import Blocks
from data_pipelines.engine.commit import code_version, stage_key
from data_pipelines.engine.daft import make_executor
from data_pipelines.engine.engine import Engine
from data_pipelines.listing import Listing
from data_pipelines.ordered import SPLITS, total_of
from data_pipelines.output import Existing, check_output, claim, publish, sibling
from data_pipelines.progress import Report, silent
from data_pipelines.recipe import (
    Recipe,
    hash_plain,
    identity,
    read_recipe,
    resolve_steps,
    resolve_target,
)
from data_pipelines.snapshots.catalog import FOLDER, open_catalog
from data_pipelines.snapshots.versions import commit_version, properties_of
from data_pipelines.source import Source
from data_pipelines.step_reports import step_reports
from data_pipelines.target import Made, Ordered
from data_pipelines.write_shards import write_documents
from ssljax.core.errors import ConfigError, DataError
from ssljax.sources.manifest import File, Manifest, content_version, write_manifest

SMALL = 8 << 20                # bytes of input that one process has read before others have started


class Sizes(NamedTuple):
    """How the work is cut, in bytes of text; the dataset does not depend on it."""

    block: int = 16 << 20
    partition: int = 64 << 20
    files: int = 64 << 20


def curate(config: Mapping[str, Any], progress: Report = silent, *, existing: Existing = "keep",
           workers: int = 0, sizes: Sizes | None = None, executor: str = "local",
           ray_address: str = "auto") -> Manifest:
    """Make the dataset of a recipe, or find it made.

    Args:
        config: plain data, the fields of `Recipe`.
        progress: told (stage, done, total, note) as it goes.
        existing: "keep" refuses an output that holds another dataset; "replace" exchanges it
            once the new one is whole.
        workers: processes; 0: one for each core we may use, one for little input.
        sizes: how the work is cut.
        executor: who runs tasks, of engine/daft.py: "local", "daft" or "ray".
        ray_address: of the cluster, HOST:PORT or "auto".

    Raises:
        ConfigError: the recipe cannot work; nothing was read.
        DataError: the input has nothing to keep, or the output is taken; nothing was changed.
    """
    recipe = read_recipe(config)
    resolve_target(recipe)
    files = list_input(recipe)
    output = Path(recipe.output)
    wanted = (hash_plain(identity(recipe)), files.hash, existing)
    found = check_output(output, *wanted)
    if found is None:
        with claim(output) as partial:
            found = check_output(output, *wanted)
            if found is None:
                sizes = sizes or Sizes()
                work = sibling(output, "work")
                runner = make_executor(executor, workers or default_workers(files),
                                       address=ray_address, reads=local_paths(recipe))
                engine = Engine(work, executor=runner, block_bytes=sizes.block,
                                partition_bytes=sizes.partition, report=progress)
                try:
                    manifest = make_dataset(recipe, files, partial, engine, sizes)
                finally:
                    runner.close()
                publish(partial, output)
                shutil.rmtree(work, ignore_errors=True)
                return manifest
    clear_work(output)
    progress("unchanged", found.read, found.read, "nothing to do")
    return found


def stages(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the stages that `curate` reports, in order."""
    recipe = read_recipe(config)
    resolve_steps(recipe)
    return [*corpus.stages(recipe), "order", *resolve_target(recipe).stages, "account"]


def list_input(recipe: Recipe) -> Listing:
    """Return what the first step of a recipe would read.

    Raises:
        ConfigError: it is no source, or another step is mistaken.
    """
    (name, source), *_ = resolve_steps(recipe)
    if not isinstance(source, Source):
        raise ConfigError(f'The first step, "{name}", reads nothing; expected a source such as '
                          "read_files.")
    return source.listing([recipe.output, catalog_folder(recipe)])


def clear_work(output: Path) -> None:
    """Remove the work of a run that was killed after it had published, unless another works now."""
    work = sibling(output, "work")
    if work.exists():
        with contextlib.suppress(DataError), claim(output):
            shutil.rmtree(work, ignore_errors=True)


def catalog_folder(recipe: Recipe) -> str:
    """Return the folder of the embedded catalog, beside the output."""
    return str(Path(recipe.output).parent / FOLDER)


def local_paths(recipe: Recipe) -> list[str]:
    """Return the paths of this machine's file systems that tasks of a recipe read."""
    return [p for p in (recipe.input, recipe.tokenizer) if os.path.isabs(p) and os.path.exists(p)]


def default_workers(files: Listing) -> int:
    """Return the processes worth starting for some input."""
    return len(os.sched_getaffinity(0)) if files.bytes > SMALL else 1


def make_dataset(recipe: Recipe, files: Listing, folder: Path, engine: Engine,
                 sizes: Sizes) -> Manifest:
    """Run the recipe and write the dataset into the empty `folder`."""
    target = resolve_target(recipe)
    blocks = make_corpus(recipe, files.files, engine, sizes.files)
    given, counts = order(blocks, target.columns, folder, engine)
    check_splits(recipe, counts)
    made = target.write(given)
    accounts = account(blocks, made, engine)
    manifest = describe(recipe, files, counts, made,
                        (*made.files, write_documents(folder, accounts)))
    keep_version(recipe, manifest, accounts, step_reports(recipe, given, target.columns))
    write_manifest(folder, manifest)
    return manifest


def keep_version(recipe: Recipe, manifest: Manifest, accounts: Sequence[str],
                 reports: Sequence[Mapping[str, Any]]) -> None:
    """Commit every row to the recipe's table, as the version that the manifest names."""
    catalog = open_catalog(Path(catalog_folder(recipe)), recipe.catalog)
    try:
        commit_version(catalog, recipe.name, [f"{a}/rows.parquet" for a in accounts],
                       properties_of(manifest, code_version(), reports))
    finally:
        catalog.close()


def partitions_of(blocks: Blocks, engine: Engine) -> int:
    """Return into how many ranges the documents of a split are cut."""
    return max(1, -(-blocks.bytes // engine.partition_bytes))


def order(blocks: Blocks, columns: Sequence[str], folder: Path,
          engine: Engine) -> tuple[Ordered, dict[str, Any]]:
    """Return each split's documents in order, and the counts of what was kept and dropped."""
    count = partitions_of(blocks, engine)
    done = engine.stage(stage_key("order", blocks.key, count, columns), "order",
                        [(ordered.order, {**p, "partitions": count, "columns": columns})
                         for p in engine.places(blocks)],
                        lambda said: f"{sum(t['kept'] for t in said):,} documents kept",
                        blocks.sizes)
    said = [told for _, told in done]
    counts = {n: total_of(said, n) for n in ("licences", "dropped", "splits")}
    counts |= {n: sum(t[n] for t in said) for n in ("rows", "kept")}
    if counts["rows"] != counts["kept"] + sum(counts["dropped"].values()):
        raise DataError(f"{counts['rows']} documents were read, {counts['kept']} kept and "
                        f"{counts['dropped']} dropped, which is not all; please report this.")
    files = {s: [f"{part}/{s}.arrow" for part, _ in done] for s in SPLITS}
    return Ordered(blocks, files, count, engine, folder), counts


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


def account(blocks: Blocks, made: Made, engine: Engine) -> list[str]:
    """Return the folders of what became of every block's rows."""
    done = engine.stage(stage_key("account", blocks.key, made.key, len(made.places)), "account",
                        [(ordered.account, {**p, "places": made.places})
                         for p in engine.places(blocks)],
                        lambda said: f"{sum(t['rows'] for t in said):,} documents accounted for",
                        blocks.sizes)
    return [folder for folder, _ in done]


def describe(recipe: Recipe, files: Listing, counts: Mapping[str, Any], made: Made,
             others: Sequence[File]) -> Manifest:
    """Return the manifest of what was written."""
    shards = tuple(shard for written in made.splits.values() for shard in written.shards)
    written = (*(file for w in made.splits.values() for file in w.files), *others)
    source: dict[str, Any] = {"path": without_password(recipe.input) or recipe.steps[0]["name"],
                              "listing": files.hash, "bytes": files.bytes,
                              "files": files.files.num_rows, "ignored": files.ignored,
                              "table": recipe.name,
                              "version": content_version((*shards, *written))}
    return Manifest(
        name=recipe.name, version=source["version"], parents=(source,),
        licences=dict(sorted(counts["licences"].items())), recipe=identity(recipe),
        recipe_hash=hash_plain(identity(recipe)), tokenizer_hash=made.tokenizer_hash,
        vocab_size=made.vocab_size, splits={s: w.summary for s, w in made.splits.items()},
        shards=shards, files=written, read=counts["rows"], kept=counts["kept"],
        dropped=counts["dropped"])


def without_password(path: str) -> str:
    """Return a path or URL without the name and password that a URL may hold."""
    return re.sub(r"(?<=://)[^/@]*@", "", path)
