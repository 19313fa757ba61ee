"""ssljax batch: vectors for every row of a table, or every image of a folder, from an artefact."""

import argparse

from ssljax.cli.opening import add_opening, opened

EXAMPLES = """\
  ssljax batch artefact --input docs.jsonl --output vectors.parquet          a field "text"
  ssljax batch artefact --input photos.zip --output vectors.parquet          an image encoder
  ssljax batch artefact --input rows.parquet --column abstract --output vectors.jsonl

The same command continues a job that was killed; its output has the same bytes.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("artefact", metavar="ARTEFACT", help="the folder `ssljax export` wrote")
    parser.add_argument("--input", required=True, metavar="FILE",
                        help="a .jsonl or .parquet file, or a folder, zip or tar of images")
    parser.add_argument("--output", required=True, metavar="FILE",
                        help="a .jsonl or .parquet file: the input's other columns, row, embedding "
                             "and error")
    parser.add_argument("--column", default="",
                        help='of text or encoded images; default: "text", for encoders of images '
                             '"image"')
    add_opening(parser)


def run(args: argparse.Namespace) -> None:
    """Embed, with a bar, and print what came out."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from ssljax.runs.batch import embed_table

    with Progress("embed", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                  TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("embed", total=None)
        done = embed_table(
            args.artefact, args.input, args.output, column=args.column, trusted=opened(args),
            report=lambda rows, total: bar.update(task, completed=rows, total=total))
    if not done.new:
        print(f"{args.output} is done already: {done.rows:,} rows.")
        return
    print(f"Wrote {done.rows:,} rows to {args.output}, {done.errors:,} of them without an "
          "embedding" + (": see their `error`." if done.errors else "."))
