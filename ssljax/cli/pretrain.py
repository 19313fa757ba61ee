"""`ssljax pretrain`: config to trained state."""

import argparse
import pathlib

TAKES_CONFIG = True
EXAMPLES = """  ssljax pretrain --config experiments/gpt/quickstart.py --workdir runs/quick
  ssljax pretrain --config experiments/gpt/gpt2_124m.py:smoke --workdir runs/smoke \\
      --config.source.path=DATASET --config.optim.lr=1e-3
  the same values in gin's spelling, from a file and one by one:
  ssljax pretrain ... --gin my.gin --gin.optim.lr=1e-3
  srun ssljax pretrain ...          Slurm, Kubernetes, Open MPI and TPU slices are detected
  two processes on one machine (run each in its own shell):
  ssljax pretrain ... --coordinator 127.0.0.1:9911 --processes 2 --process 0
  ssljax pretrain ... --coordinator 127.0.0.1:9911 --processes 2 --process 1

Ctrl-C or SIGTERM (or SIGUSR1) saves and exits (130 or 75); the same command continues. A process
that loses its peers exits 75, or is aborted by jax (134): the same command continues.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--config", required=True, metavar="FILE[:ARG]",
                        help="an experiment file; change any value with --config.key=value")
    parser.add_argument("--workdir", required=True, type=pathlib.Path,
                        help="where checkpoints and metrics go")
    parser.add_argument("--profile", metavar="FIRST:LAST",
                        help="write an XLA profile of these steps to WORKDIR/profile")
    parser.add_argument("--programs", metavar="FOLDER",
                        help="where compiled programs are kept for the next start; off keeps none "
                             "(default: a folder of the user's cache)")
    parser.add_argument("--distributed", default="auto", metavar="HOW",
                        help="auto, off, environment, slurm, kubernetes, mpi or tpu: where to "
                             "learn which of how many processes this is (default: %(default)s)")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="process 0 of several")
    parser.add_argument("--processes", type=int, default=1, help="how many processes")
    parser.add_argument("--process", type=int, default=0, help="which of them this is, from 0")


def run(args: argparse.Namespace) -> None:
    """Train."""
    from ssljax.runs.config import check_run, load_config, to_plain

    config = to_plain(load_config(args.config, args.overrides))
    check_run(config)
    # jax starts here, after everything that can be wrong without it has been said.
    from ssljax.runs import distributed, process
    from ssljax.runs.pretrain import pretrain
    from ssljax.train.ledger import process_age
    from ssljax.train.profile import parse_steps

    process.keep_freed_memory()
    process.keep_programs(args.programs or process.default_programs())
    distributed.start(args.distributed, args.coordinator, args.processes, args.process)
    with distributed.leaving_on(BaseException):
        pretrain(config, args.workdir, profile=parse_steps(args.profile) if args.profile else None,
                 age=process_age())
