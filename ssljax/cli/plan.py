"""`ssljax plan`: parameters, memory, traffic and time of a run, and the best mesh, without it."""

import argparse

TAKES_CONFIG = True
EXAMPLES = """  ssljax plan --config experiments/gpt/gpt2_124m.py --devices 8 --chip h100
  ssljax plan --config experiments/gpt/gpt2_124m.py --devices 256 --chip v5p --json
  a mesh of your own, instead of a proposal (axes that are not told are 1):
  ssljax plan --config experiments/gpt/gpt2_124m.py --devices 64 --chip h200 \\
      --config.mesh.fsdp=16 --config.mesh.tensor=4

The real step is compiled for as many fake CPU devices, up to 512; nothing is trained. Without a
mesh all are ranked by a roofline model, and the best few are compiled to confirm.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--config", required=True, metavar="FILE[:ARG]",
                        help="an experiment file; change any value with --config.key=value")
    parser.add_argument("--devices", required=True, type=int, metavar="N",
                        help="how many, 1 to 512")
    parser.add_argument("--chip", default="h100", metavar="NAME",
                        help="a100, h100, h200, b200, v4, v5e, v5p, v6e, cpu (default: "
                             "%(default)s)")
    parser.add_argument("--configured", action="store_true",
                        help="plan the mesh of the config file instead of proposing one")
    parser.add_argument("--confirm", type=int, default=3, metavar="N",
                        help="how many of the best meshes are compiled (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> None:
    """Plan, and print the plan."""
    import json

    from ssljax.runs.config import check_run, load_config, to_plain
    from ssljax.runs.plan_process import run_plan
    from ssljax.runs.plan_text import plan_text

    config = to_plain(load_config(args.config, args.overrides))
    check_run(config)
    asked = {o.removeprefix("--config.mesh.").partition("=")[0] for o in args.overrides
             if o.startswith("--config.mesh.")}
    mesh = config["mesh"] if args.configured else (
        {axis: config["mesh"][axis] for axis in asked} or None)
    report = run_plan(config, devices=args.devices, chip=args.chip, mesh=mesh,
                      confirm=args.confirm)
    print(json.dumps(report) if args.json else plan_text(report), end="\n" if args.json else "")
