"""`ssljax VERB ...`: find the verb, parse its arguments, run it; errors become one line."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from ssljax import __version__
from ssljax.core.errors import MissingExtraError, SsljaxError, nearest

# One line each, so that --help imports nothing; the order is the order of the journey.
VERBS = {
    "quickstart": "the whole journey on this machine: raw text to a served model and a report",
    "curate": "raw files to de-duplicated, tokenised, versioned shards",
    "data": "versions of document tables; where a row or a training token came from",
    "config": "print a resolved config and its parameters without training",
    "plan": "predict memory, traffic and time of a run, and the best mesh, without the hardware",
    "pretrain": "train as a config says; the same command continues",
    "replay": "take one step of a run again and look into it",
    "runs": "list the runs below a folder: state, step, loss, rate, goodput",
    "plot": "compare the curves, configs and wall time of runs in one HTML file",
    "evaluate": "judge a checkpoint on held-out data, next to honest baselines",
    "export": "turn a checkpoint into an artefact that runs without this repository",
    "import": "turn a model in Hugging Face's form into an artefact: GPT-2, Llama, ViT",
    "serve": "answer HTTP requests from an artefact",
    "arena": "compare models of any servers side by side on a page, vote, and rank them",
    "keys": "who may ask a server what, and how much: add, list and revoke API keys",
    "batch": "vectors for every row of a table or folder from an artefact, exactly once",
    "generate": "continue a prompt from an artefact, or draw images from a run, in the shell",
    "report": "write report.html and report.json of a workdir",
}
# What to install where a verb meets a package that is absent.
EXTRAS = {"quickstart": "curate,train,serve", "curate": "curate", "data": "curate",
          "serve": "serve", "arena": "serve", "batch": "serve", "generate": "serve"}
OURS = ("ssljax", "experiments", "data_pipelines")
EXAMPLE = """example:
  ssljax quickstart                     about five minutes on two CPU cores
  ssljax VERB --help                    what a verb takes, with examples
"""
USAGE_ERROR = 2


def top_help() -> str:
    """Return the help of the program itself."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:{width}}  {line}" for name, line in VERBS.items())
    return ("usage: ssljax VERB [arguments]\n\nSelf-supervised pre-training in JAX, from raw data "
            f"to a served foundation model.\n\nverbs:\n{verbs}\n\n{EXAMPLE}")


def verb_parser(verb: str) -> tuple[argparse.ArgumentParser, object]:
    """Return the parser of a verb and its module."""
    module = importlib.import_module(f"ssljax.cli.{verb}")
    parser = argparse.ArgumentParser(
        f"ssljax {verb}", description=VERBS[verb][0].upper() + VERBS[verb][1:] + ".",
        epilog=f"examples:\n{module.EXAMPLES}", allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    return parser, module


def parse(verb: str, arguments: Sequence[str]) -> tuple[object, argparse.Namespace]:
    """Return a verb's module and its arguments; what changes a config goes to args.overrides.

    That is "--config.a.b=value", "--gin.a.b=value", "--gin=FILE" and "--gin FILE", in their order.
    """
    parser, module = verb_parser(verb)
    joined: list[str] = []
    for argument in arguments:
        joined[-1:] = ([f"--gin={argument}"] if joined[-1:] == ["--gin"] else
                       [*joined[-1:], argument])
    overrides = [a for a in joined if a.startswith(("--config.", "--gin.", "--gin="))]
    if overrides and not getattr(module, "TAKES_CONFIG", False):
        parser.error(f"{overrides[0]}: this verb takes no config")
    args = parser.parse_args([a for a in joined if a not in overrides])
    args.overrides = overrides
    return module, args


def run_verb(verb: str, arguments: Sequence[str]) -> None:
    """Parse and run a verb; a package that is absent is named with the extra that brings it.

    Raises:
        SsljaxError: the verb cannot do what was asked.
    """
    try:
        module, args = parse(verb, arguments)
        module.run(args)
    except ModuleNotFoundError as err:
        missing = (err.name or "").partition(".")[0]
        if isinstance(err, SsljaxError) or missing in OURS:
            raise
        raise MissingExtraError(missing, EXTRAS.get(verb, "train")) from err


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (2 for bad usage or config, 1 for failures)."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(top_help(), end="")
        return 0 if arguments else USAGE_ERROR
    if arguments[0] == "--version":
        print(f"ssljax {__version__}")
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        print(f'ssljax: no verb "{verb}"; {nearest(verb, VERBS)}', file=sys.stderr)
        return USAGE_ERROR
    try:
        run_verb(verb, rest)
    except SsljaxError as err:
        print(f"ssljax {verb}: {err}", file=sys.stderr)
        return err.exit_code
    except KeyboardInterrupt:
        print(f"ssljax {verb}: interrupted.", file=sys.stderr)
        return 130
    return 0


def run() -> None:
    """Be the console script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
