"""ssljax batch: a vector or a text for every row of a table, or vectors of a folder's images."""

import argparse

from ssljax.cli.opening import add_opening, opened

EXAMPLES = """\
  ssljax batch artefact --input docs.jsonl --output vectors.parquet          a field "text"
  ssljax batch artefact --input photos.zip --output vectors.parquet          an image encoder
  ssljax batch artefact --input rows.parquet --column abstract --output vectors.jsonl
  ssljax batch artefact --function complete --input prompts.jsonl --output texts.jsonl \\
         --max-tokens 64 --temperature 0                        a field "prompt"
  ssljax batch artefact --function complete --column body --input requests.jsonl \\
         --output answers.jsonl                                 OpenAI's batch format

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
    parser.add_argument("--function", choices=("embed", "complete"), default="embed",
                        help="what every row is given (default: %(default)s)")
    texts = parser.add_argument_group("texts")
    texts.add_argument("--max-tokens", type=int, default=16, metavar="N",
                       help="of a text (default: %(default)s)")
    texts.add_argument("--temperature", type=float, default=1.0, metavar="T",
                       help="0 always takes the most probable token (default: %(default)s)")
    texts.add_argument("--top-p", type=float, default=1.0, metavar="P",
                       help="draw from the most probable tokens of this mass (default: all)")
    texts.add_argument("--seed", type=int, metavar="N", help="of every row; one each unless given")
    add_opening(parser)


def run(args: argparse.Namespace) -> None:
    """Embed or complete, with a bar, and print what came out."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from ssljax.runs.batch import complete_table, embed_table

    with Progress(args.function, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                  TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(args.function, total=None)
        common = {"trusted": opened(args), "report": lambda rows, total: bar.update(
            task, completed=rows, total=total)}
        if args.function == "embed":
            done = embed_table(args.artefact, args.input, args.output, column=args.column, **common)
        else:
            done = complete_table(args.artefact, args.input, args.output,
                                  column=args.column or "prompt", **options_of(args), **common)
    if not done.new:
        print(f"{args.output} is done already: {done.rows:,} rows.")
        return
    what = "an embedding" if args.function == "embed" else "an answer"
    print(f"Wrote {done.rows:,} rows to {args.output}, {done.errors:,} of them without {what}"
          + (": see their `error`." if done.errors else "."))


def options_of(args: argparse.Namespace) -> dict[str, object]:
    """Return the fields of every completion; requests of OpenAI's format have their own."""
    if args.column == "body":
        return {}
    fields = {"max_tokens": args.max_tokens, "temperature": args.temperature, "top_p": args.top_p}
    return fields | ({} if args.seed is None else {"seed": args.seed})
