"""`ssljax curate`: raw data to a de-duplicated, versioned dataset of shards."""

import argparse
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssljax.sources.manifest import Manifest

TAKES_CONFIG = True
EXAMPLES = """  ssljax curate                       the standard library of this Python: no download
  ssljax curate --input DIR --output runs/data/mine --config.vocab_size=8192
  ssljax curate --config my_recipe.py --config.options.quality.min_words=50 --overwrite
  ssljax curate --input /nfs/crawl --output /nfs/data/crawl --executor ray
                                      on the Ray cluster that this machine is a node of

recipes, each a list of steps in data_pipelines/recipes; copy one to change it:
  ssljax curate --config data_pipelines/recipes/fineweb_like.py --input DIR_OF_WARC --output DIR \\
    --config.options.decontaminate.use=True --config.options.decontaminate.evals="('evals/',)"
  ssljax curate --config data_pipelines/recipes/code.py --input DIR --licence MIT
  ssljax curate --config data_pipelines/recipes/images.py --input photos.zip \\
    --config.options.image_quality.min_side=32
  ssljax curate --config data_pipelines/recipes/audio.py --input s3://bucket/recordings
  ssljax curate --config data_pipelines/recipes/sensors.py --input DIR_OF_CSV \\
    --config.options.split_by_time.validation_from=1700000000

The first step of a recipe says what INPUT is: read_files (text, source code, HTML, PDF, WARC, JSON
lines, Parquet, CSV, Arrow, zip, tar), read_table, read_images, read_audio, read_sql, read_crawl,
read_stream, read_seqio. `target` says what is written: tokens, array_record, parquet or features.
The same command again does nothing while input and recipe are the same. OUTPUT/documents.jsonl.gz
says what became of every document.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--config", default="data_pipelines/text.py", metavar="FILE[:ARG]",
                        help="a recipe file; change any value with --config.key=value")
    parser.add_argument("--input", metavar="DIR",
                        help="folder of raw files or URL of one; for other sources a database, a "
                             "broker or a list of URLs; default: this Python's standard library")
    parser.add_argument("--output", metavar="DIR", help="the dataset; default: as the recipe says")
    parser.add_argument("--licence", help="of the input, for the manifest; default: unknown")
    parser.add_argument("--workers", type=int, default=0,
                        help="processes; default: one for each core, one for little input")
    parser.add_argument("--executor", choices=("local", "daft", "ray"), default="local",
                        help="who runs the tasks, with the same output: processes of this machine, "
                             "Daft on this machine, or Daft on a Ray cluster whose nodes mount "
                             "input and output at the same paths; default: local")
    parser.add_argument("--ray-address", default="auto", metavar="HOST:PORT",
                        help="of the cluster for --executor ray; default: auto, this node's")
    parser.add_argument("--overwrite", dest="existing", action="store_const", const="replace",
                        default="keep", help="replace a dataset that is at OUTPUT already")


def run(args: argparse.Namespace) -> None:
    """Curate, with a bar for each step, and print what went in and what came out."""
    from ssljax.core.errors import MissingExtraError
    from ssljax.runs.config import load_config, to_plain

    given = {"input": args.input, "output": args.output, "licence": args.licence}
    config = to_plain(load_config(args.config, args.overrides))
    config |= {name: value for name, value in given.items() if value is not None}
    try:
        from data_pipelines.progress import bars
        from data_pipelines.run import curate, stages
    except ModuleNotFoundError as err:
        raise MissingExtraError(err.name or "pyarrow", "curate") from err
    started = time.monotonic()
    with bars(stages(config)) as progress:
        manifest = curate(config, progress, existing=args.existing,
                          workers=args.workers, executor=args.executor,
                          ray_address=args.ray_address)
    print_summary(manifest, config["output"], time.monotonic() - started)


def print_summary(manifest: "Manifest", output: str, seconds: float) -> None:
    """Print what was read, kept and dropped, and the size of each split."""
    from rich.console import Console

    documents = [("read", f"{manifest.read:,}"), ("kept", f"{manifest.kept:,}"),
                 *((f"  dropped: {reason}", f"{n:,}") for reason, n in manifest.dropped.items())]
    keys = ("documents", *(("tokens",) if manifest.vocab_size else ()), "text_bytes")
    sizes = [(name, *(f"{split[key]:,}" for key in keys))
             for name, split in manifest.splits.items()]
    console = Console()
    console.print(table(f"{manifest.name} {manifest.version}", ("documents", ""), documents))
    console.print(table("", ("split", *(k.replace("text_bytes", "bytes of text") for k in keys)),
                        sizes))
    tokens = f"vocabulary {manifest.vocab_size:,}, " if manifest.vocab_size else ""
    print(f"{output}: {tokens}{len(manifest.shards)} shards, {seconds:.1f} s")


def table(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Any:
    """Return a rich table, its first column of words and the others of numbers."""
    from rich.table import Table

    out = Table(title=title or None, title_justify="left", title_style="bold")
    for number, name in enumerate(header):
        out.add_column(name, justify="right" if number else "left")
    for row in rows:
        out.add_row(*row)
    return out
