"""`ssljax replay`: take one step of a run again and look into it."""

import argparse
import pathlib

EXAMPLES = """  ssljax replay runs/gpt2 --step 1834          a step of rejected.jsonl, or any other
  ssljax replay runs/gpt2 --step 1834 --out step1834.npz   keep its batch for a notebook
"""
WORST = 8       # rows and weights shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("workdir", type=pathlib.Path, help="the --workdir of `ssljax pretrain`")
    parser.add_argument("--step", type=int, required=True, help="the step, counted from 1")
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE.npz",
                        help="write the batch, its rows' losses and ids here")


def run(args: argparse.Namespace) -> None:
    """Replay the step and print what was found."""
    import numpy as np

    from ssljax.runs.replay import replay

    found = replay(args.workdir, args.step)
    print(f"Step {found.step} (batch {found.batch} of the stream, reached from step "
          f"{found.since}): loss {found.loss:.9g}, gradient norm {found.grad_norm:.9g}; "
          f"{'rejected' if found.rejected else 'accepted'}.")
    if found.same is not None:
        print("The run recorded " + ("exactly these numbers." if found.same else
              f"loss {found.recorded['loss']:.9g}, gradient norm "
              f"{found.recorded['grad_norm']:.9g}: this is another mesh or other software."))
    print_gradients(found.gradients)
    if found.rows is not None:
        print_rows(found.rows, found.arrays["id"])
    if args.out:
        losses = {} if found.rows is None else {"row_losses": found.rows}
        np.savez(args.out, **found.arrays, **losses)
        print(f"The batch is in {args.out}.")


def print_gradients(gradients: dict) -> None:
    """Print the weights whose gradients are worst: not finite first, then the largest."""
    worst = sorted(gradients.items(), key=lambda x: (-x[1]["not_finite"], -x[1]["norm"]))[:WORST]
    print(f"\n{'gradient':44} {'norm':>12} {'largest':>12} {'not finite':>12}")
    for name, g in worst:
        print(f"{name:44} {g['norm']:12.4g} {g['largest']:12.4g} {g['not_finite']:12.0f}")


def print_rows(rows, ids) -> None:
    """Print the rows with the largest losses, those that are not finite first."""
    import numpy as np

    order = np.argsort(np.where(np.isfinite(rows), -rows, -np.inf))[:WORST]
    print(f"\n{'row':>6} {'loss':>12}   record id")
    for i in order:
        print(f"{i:6} {rows[i]:12.6g}   {ids[i][0]:08x}{ids[i][1]:08x}")
