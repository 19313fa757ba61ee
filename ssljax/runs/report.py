"""report.json and report.html of a workdir: what went in, what came out, how good, how to go on.

Reads the figures that `runs.collect` gathers (or a caller measured); writes two files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssljax.core.files import write_atomic
from ssljax.runs.collect import collect, plain
from ssljax.runs.page import page

# What report.json has at least; None means that it was not measured.
REQUIRED = {
    "documents": ("read", "kept", "dropped"),
    "train": ("steps", "tokens", "final_loss", "tokens_per_second"),
    "eval": ("bits_per_byte",),
    "baseline": ("xz_bits_per_byte", "unigram_bits_per_byte", "fivegram_bits_per_byte"),
    "export": ("bytes",),
    "serve": ("first_token_ms_p50", "tokens_per_second"),
    "seconds": ()}


def report(workdir: str | Path) -> dict[str, Any]:
    """Gather the figures of a workdir, write its report and return the figures.

    Raises:
        DataError: the workdir holds nothing of a run, or a file in it is damaged.
    """
    figures = collect(workdir)
    write_report(workdir, figures)
    return figures


def write_report(workdir: str | Path, figures: Mapping[str, Any]) -> None:
    """Write report.json and report.html into `workdir`, each whole or not at all.

    Args:
        workdir: an existing folder or one to be made.
        figures: nested plain data as `runs.collect.collect` returns it; what is missing is shown
            as missing.
    """
    full = complete(plain(figures))
    text = json.dumps(full, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomic(Path(workdir) / "report.json", text.encode())
    write_atomic(Path(workdir) / "report.html", page(full).encode())


def complete(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures with every required key; None for what was not measured."""
    out = dict(figures)
    for group, names in REQUIRED.items():
        out[group] = {**dict.fromkeys(names), **(out.get(group) or {})}
    return out
