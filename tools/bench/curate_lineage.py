"""What lineage costs a recipe: rows as Parquet, documents.jsonl.gz and the Iceberg commit.

    python tools/bench/curate_lineage.py --input DIR [--config data_pipelines/text.py] [--json FILE]
        [--config.key=value ...]

Runs the recipe once in this process and measures CPU-seconds (user and system, children included)
of the stages that exist for lineage alone, beside those of all. The goal is at most 5 %.
"""

import argparse
import os
import platform
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rounds

from data_pipelines import run
from ssljax.runs.config import load_config, to_plain

STAGES = ("account", "write_documents", "keep_version")


def main() -> None:
    """Run the recipe and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True)
    parser.add_argument("--config", default="data_pipelines/text.py")
    parser.add_argument("--json")
    args, overrides = parser.parse_known_args()
    spent: dict[str, float] = {}
    for name in STAGES:
        setattr(run, name, timed(getattr(run, name), name, spent))
    with tempfile.TemporaryDirectory() as folder:
        config = to_plain(load_config(args.config, overrides)) | {
            "input": args.input, "output": str(Path(folder, "out"))}
        began = cpu_seconds()
        manifest = run.curate(config, workers=1)
        whole = cpu_seconds() - began
    rows = [rounds.row(name, "share of the recipe", "%", 100 * spent[name] / whole, None, "",
                       "no peer keeps lineage") for name in STAGES]
    rows.append(rounds.row("lineage", "share of the recipe", "%",
                           100 * sum(spent.values()) / whole, None, "", "no peer keeps lineage"))
    rows.append(rounds.row(f"{manifest.read} documents", "whole recipe", "CPU-seconds", whole, None,
                           "", "no peer keeps lineage"))
    rounds.show(rows)
    rounds.write(args.json, "curate_lineage",
                 {"cpus": os.cpu_count(), "platform": platform.platform()}, rows)


def timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    """Return the function, which adds its CPU-seconds to `spent`."""
    def run_timed(*args: Any, **kwargs: Any) -> Any:
        began = cpu_seconds()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] = spent.get(name, 0.0) + cpu_seconds() - began

    return run_timed


def cpu_seconds() -> float:
    """Return user and system seconds of this process and of its children that ended."""
    return sum(sum(resource.getrusage(who)[:2])
               for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


if __name__ == "__main__":
    main()
