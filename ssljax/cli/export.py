"""ssljax export: a run's checkpoint to an artefact that runs without this repository."""

import argparse

EXAMPLES = """\
  ssljax export quickstart/run --output quickstart/artefact              the newest checkpoint
  ssljax export quickstart/run --output early --step 400 --name early    an earlier one, with a name
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", metavar="RUN", help="the folder a run was trained in")
    parser.add_argument("--output", required=True, metavar="DIR",
                        help="the artefact's folder; an older artefact there is replaced")
    parser.add_argument("--step", type=int, help="which checkpoint; default: the newest")
    parser.add_argument("--name", help="what the model is called; default: the run's folder")


def run(args: argparse.Namespace) -> None:
    """Export the run and say what was written."""
    from ssljax.core.wording import count, size
    from ssljax.runs.export import export_run

    done = export_run(args.run, args.output, step=args.step, name=args.name)
    programs = ", ".join(f"{name} {size(nbytes)}" for name, nbytes in done["functions"].items())
    print(f'Step {done["step"]:,} of {args.run} as {done["kind"]} "{done["name"]}": '
          f"{count(done['parameters'])} parameters, {size(done['bytes'])} in {done['path']}")
    print(f"Programs for CPU, CUDA and TPU: {programs}")
    if done["kind"] == "decoder":
        print(f'Next: ssljax generate {done["path"]} --prompt "..." or ssljax serve {done["path"]}')
