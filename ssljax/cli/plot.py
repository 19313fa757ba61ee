"""ssljax plot: compare the curves, configs and wall time of runs in one HTML file."""

import argparse
from pathlib import Path

EXAMPLES = """\
  ssljax plot runs/a runs/b                                  loss, evaluations, rate
  ssljax plot runs/* --metric loss --smooth 0.9 --x tokens   one smoothed curve a run
  ssljax plot runs/a --metric 'grad_norm/*' --log --out norms.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="a run's folder")
    parser.add_argument("--metric", metavar="NAME", action="append", default=[],
                        help="a name from metrics.jsonl or a pattern; may be given again")
    parser.add_argument("--smooth", metavar="WEIGHT", type=float, default=0.0,
                        help="weight of the past in a moving average, 0 to below 1; default: 0")
    parser.add_argument("--x", default="step", metavar="step|tokens|seconds",
                        help="what the curves run over; default: step")
    parser.add_argument("--log", action="store_true", help="draw values on a logarithmic axis")
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("compare.html"),
                        help="default: compare.html")


def run(args: argparse.Namespace) -> None:
    """Write the page and say where it is."""
    from ssljax.runs.plot import plot

    plot(args.runs, args.out, metrics=args.metric, weight=args.smooth, axis=args.x, log=args.log)
    print(f"Wrote {args.out}.")
