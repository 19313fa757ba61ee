"""ssljax batch: what a model says of every row of a table, or of a folder's images."""

import argparse

from ssljax.cli.opening import add_opening, opened

EXAMPLES = """\
  ssljax batch artefact --input docs.jsonl --output vectors.parquet          a field "text"
  ssljax batch artefact --input photos.zip --output vectors.parquet          an image encoder
  ssljax batch artefact --input rows.parquet --column abstract --output vectors.jsonl
  ssljax batch artefact --function classify --input photos.zip --output classes.parquet
  ssljax batch artefact --function score --input docs.jsonl --output scores.parquet
  ssljax batch artefact --function complete --input prompts.jsonl --output texts.jsonl \\
         --max-tokens 64 --temperature 0                        a field "prompt"
  ssljax batch artefact --function complete --column body --input requests.jsonl \\
         --output answers.jsonl                                 OpenAI's batch format

The same command continues a job that was killed; its output has the same bytes.
"""

FUNCTIONS = ("embed", "sequence", "classify", "score", "complete")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("artefact", metavar="ARTEFACT", help="the folder `ssljax export` wrote")
    parser.add_argument("--input", required=True, metavar="FILE",
                        help="a .jsonl or .parquet file, or a folder, zip or tar of images")
    parser.add_argument("--output", required=True, metavar="FILE",
                        help="a .jsonl or .parquet file: the input's other columns, row, the "
                             "answer, and error where there is none")
    parser.add_argument("--column", default="",
                        help='of texts or images; default: "text", of images "image", of what is '
                             'completed "prompt"')
    parser.add_argument("--function", choices=FUNCTIONS, default="embed",
                        help="what every row is given: a vector, one for each of its tokens or "
                             "patches, its classes, the log probability of each token, or a text "
                             "(default: %(default)s)")
    parser.add_argument("--top", type=int, metavar="N",
                        help="of classify: only the N most probable classes, the best first "
                             "(default: all in their order)")
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
    """Answer every row, with a bar, and print what came out.

    Raises:
        ConfigError: --top of what has no classes, or of none.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from ssljax.core.errors import ConfigError
    from ssljax.runs.batch import encode_table, write_texts

    if args.top is not None and (args.function != "classify" or args.top < 1):
        raise ConfigError(f"--top {args.top} with --function {args.function}; expected at least 1, "
                          "with --function classify.")
    with Progress(args.function, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                  TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(args.function, total=None)
        common = {"trusted": opened(args), "function": args.function, "column": args.column,
                  "report": lambda rows, total: bar.update(task, completed=rows, total=total)}
        tables = (args.artefact, args.input, args.output)
        done = (write_texts(*tables, **options_of(args), **common)
                if args.function in ("score", "complete")
                else encode_table(*tables, top=args.top, **common))
    if not done.new:
        print(f"{args.output} is done already: {done.rows:,} rows.")
        return
    print(f"Wrote {done.rows:,} rows to {args.output}, {done.errors:,} of them without an answer"
          + (": see their `error`." if done.errors else "."))


def options_of(args: argparse.Namespace) -> dict[str, object]:
    """Return the fields of every completion; requests of OpenAI's format have their own."""
    if args.column == "body" or args.function == "score":
        return {}
    fields = {"max_tokens": args.max_tokens, "temperature": args.temperature, "top_p": args.top_p}
    return fields | ({} if args.seed is None else {"seed": args.seed})
