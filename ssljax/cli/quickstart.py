"""`ssljax quickstart`: raw text to a served model, in minutes."""

import argparse
import pathlib

EXAMPLES = """  ssljax quickstart
  ssljax quickstart --input ~/notes --workdir runs/notes --minutes 20

Without --input it learns from the standard library of the Python that runs it: real text and code,
present on every machine. Finished stages are skipped when the command is run again.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--input", metavar="DIR",
                        help="a folder of .txt .md .rst .py .html .jsonl files, also .gz")
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("quickstart"),
                        help="where everything goes (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=5.7,
                        help="for the whole journey; more is a better model (default: %(default)s)")
    parser.add_argument("--config", metavar="FILE[:ARG]", default="experiments/gpt/quickstart.py",
                        help="what to train (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Run every stage."""
    from ssljax.core.errors import ConfigError
    from ssljax.runs.quickstart import quickstart

    if args.minutes <= 0:
        raise ConfigError(f"--minutes {args.minutes:g}; expected more than 0.")
    quickstart(args.input, args.workdir, minutes=args.minutes, config=args.config)
