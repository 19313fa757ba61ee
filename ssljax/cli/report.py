"""ssljax report: write report.html and report.json of a workdir."""

import argparse
from pathlib import Path

EXAMPLES = """\
  ssljax report quickstart       from what the stages of `ssljax quickstart` left there
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("workdir", metavar="WORKDIR", type=Path,
                        help="a folder with data/, run/ and artefact/, or some of them")


def run(args: argparse.Namespace) -> None:
    """Write the report and say where it is."""
    from ssljax.runs.report import report

    report(args.workdir)
    print(f"Wrote {args.workdir / 'report.html'} and {args.workdir / 'report.json'}.")
