"""ssljax runs: the runs below a folder and how each is doing."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXAMPLES = """\
  ssljax runs                    run folders below this one, the last active first
  ssljax runs runs/ /mnt/runs    below several folders
  ssljax runs --json             the same for a script
"""
STYLES = {"running": "green", "starting": "green", "finished": "", "interrupted": "yellow",
          "stopped": "yellow", "failed": "red", "died": "red"}
WIDE = 130                                           # columns of a terminal that has room for all
LESS = ("method", "MFU", "checkpoint", "size")       # left out where it has not


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("roots", metavar="ROOT", nargs="*", type=Path, default=[Path(".")],
                        help="where to look; default: this folder")
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def run(args: argparse.Namespace) -> None:
    """Print the runs."""
    import json

    from ssljax.runs.collect import plain
    from ssljax.runs.listing import as_json, list_runs

    runs = list_runs(args.roots)
    if args.json:
        print(json.dumps(plain([as_json(r) for r in runs]), indent=1))
    elif not runs:
        print("No run folders below " + ", ".join(map(str, args.roots)) + ".")
    else:
        from rich.console import Console

        console = Console()
        # A pipe has no width of its own: nothing is left out there.
        width = console.width if console.is_terminal else WIDE
        Console(width=width).print(table(runs, whole=width >= WIDE))


def table(runs: Sequence[Any], *, whole: bool) -> Any:
    """Return a rich table of runs, one a row; where there is no room, of their main figures."""
    from rich.table import Table

    rows = [cells(r) for r in runs]
    out = Table(box=None, header_style="bold")
    names = [name for name in rows[0] if whole or name not in LESS]
    for name in names:
        text = name in ("run", "method", "state")
        out.add_column(name, justify="left" if text else "right", no_wrap=name != "run",
                       overflow="fold")
    for row in rows:
        out.add_row(*(row[name] for name in names))
    return out


def cells(run: Any) -> dict[str, str]:
    """Return a run's figures as people read them, by column."""
    import time

    from rich.markup import escape

    from ssljax.core.wording import MISSING, count, digits, duration, size

    style = STYLES.get(run.state, "")
    return {
        "run": escape(str(run.path)), "method": escape(run.method),
        "state": f"[{style}]{run.state}[/]" if style else run.state,
        "step": f"{count(run.step)}/{count(run.total)}",
        "loss": MISSING if run.loss is None else digits(run.loss, 4),
        "rate": f"{count(run.rate)} {run.unit}/s" if run.rate else MISSING,
        "MFU": MISSING if run.mfu is None else f"{100 * run.mfu:.1f} %",
        "goodput": MISSING if run.goodput is None else f"{100 * run.goodput:.0f} %",
        "checkpoint": count(run.checkpoint),
        "active": f"{duration(max(0.0, time.time() - run.active))} ago", "size": size(run.bytes)}
