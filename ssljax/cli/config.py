"""`ssljax config`: what a run would be, without running it."""

import argparse

TAKES_CONFIG = True
EXAMPLES = """  ssljax config experiments/gpt/gpt2_124m.py
  ssljax config experiments/gpt/quickstart.py --config.model.depth=8
  ssljax config experiments/gpt/gpt2_124m.py --json > run.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("file", metavar="FILE[:ARG]", help="an experiment file")
    parser.add_argument("--json", action="store_true", help="print the resolved config alone")


def run(args: argparse.Namespace) -> None:
    """Print the resolved config and the parameter overview."""
    import json

    from ssljax.runs.config import check_run, load_config, to_plain

    config = to_plain(load_config(args.file, args.overrides))
    check_run(config)
    print(json.dumps(config, indent=2))
    if not args.json:
        from ssljax.runs.overview import parameter_overview

        print(parameter_overview(config))
