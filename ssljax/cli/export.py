"""ssljax export: a run's checkpoint to an artefact that runs without this repository."""

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """\
  ssljax export quickstart/run --output quickstart/artefact              the newest checkpoint
  ssljax export quickstart/run --output early --step 400 --name early    an earlier one, with a name
  ssljax export quickstart/run --output small --quantize int8 --judge    and what the rounding costs
  ssljax export runs/mae --output faces --classify linear        a classifier on its features
  openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out key.pub
  ssljax export quickstart/run --output signed --sign key.pem            serve --trusted-key key.pub
  ssljax export --relower quickstart/artefact                            for the jax installed here
  ssljax export quickstart/run --output hf --target hf      for transformers and what reads its form
"""
READ_BY = {"hf": "Read by transformers: AutoModelForCausalLM.from_pretrained(folder)",
           "saved_model": "Read by TensorFlow, checked there: tensorflow.saved_model.load(folder)"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", metavar="RUN", nargs="?", help="the folder a run was trained in")
    parser.add_argument("--output", metavar="DIR",
                        help="the artefact's folder; an older artefact there is replaced")
    parser.add_argument("--step", type=int, help="which checkpoint; default: the newest")
    parser.add_argument("--name", help="what the model is called; default: the run's folder")
    parser.add_argument("--target", choices=("native", "hf", "saved_model"), default="native",
                        help="what is written: an artefact of ours, a folder for Hugging Face's "
                             "transformers, or a SavedModel for TensorFlow (default: %(default)s)")
    parser.add_argument("--quantize", choices=("int8", "fp8"),
                        help="round matrices to eight bits with a scale a channel; what that "
                             "changes is printed and kept in the artefact")
    parser.add_argument("--judge", action="store_true",
                        help="with --quantize: say it by the run's own evaluators too")
    parser.add_argument("--classify", metavar="LABEL",
                        help="of encoders: the linear evaluator of the run's config whose "
                             "classifier the artefact carries")
    parser.add_argument("--chat-template", type=Path, metavar="FILE",
                        help="of language models: the Jinja2 template that /v1/chat/completions "
                             "puts messages through")
    parser.add_argument("--chat-stop", action="append", default=[], metavar="TEXT",
                        help="ends an answer, as the template marks the end of a turn; repeatable")
    parser.add_argument("--adapters", type=int, default=0, metavar="N",
                        help="of language models: leave room for so many low-rank adapters at "
                             "once, which a server loads (serve --adapter)")
    parser.add_argument("--adapter-rank", type=int, default=0, metavar="R",
                        help="rank of those adapters at most")
    parser.add_argument("--shard-bytes", type=int, default=2 * 10**9, metavar="N",
                        help="of a file of weights at most (default: 2 GB)")
    parser.add_argument("--sign", type=Path, metavar="KEY",
                        help="PEM file of a private Ed25519 key that vouches for the artefact")
    parser.add_argument("--relower", type=Path, metavar="ARTEFACT",
                        help="instead of RUN: make the programs of an artefact anew with the jax "
                             "installed here, in its place or in --output")


def run(args: argparse.Namespace) -> None:
    """Export a run, or lower an artefact again, and say what was written.

    Raises:
        ConfigError: neither a run with its output, nor an artefact was told.
    """
    from ssljax.core.errors import ConfigError

    if args.relower:
        relower(args)
    elif args.run and args.output:
        export(args)
    else:
        raise ConfigError("Give a RUN and its --output, or --relower ARTEFACT.")


def relower(args: argparse.Namespace) -> None:
    """Lower an artefact again and say what was written."""
    from ssljax.runs.relower import relower_artefact

    manifest = relower_artefact(args.relower, args.output, key=args.sign)
    print(f"{', '.join(manifest['functions'])} of {args.output or args.relower} lowered again by "
          f"jax {manifest['jax']['version']}; every golden answer agrees"
          f"{', signed' if args.sign else ''}.")


def export(args: argparse.Namespace) -> None:
    """Export a run and say what was written."""
    from ssljax.core.wording import count, size
    from ssljax.export.adapters import room_of
    from ssljax.runs.export import export_run

    done = export_run(args.run, args.output, step=args.step, name=args.name,
                      target=args.target, quantize=args.quantize, judge=args.judge,
                      classify=args.classify, shard=args.shard_bytes, key=args.sign,
                      chat=args.chat_template, chat_stop=args.chat_stop,
                      adapters=room_of(args.adapters, args.adapter_rank))
    programs = ", ".join(f"{name} {size(nbytes)}" for name, nbytes in done["functions"].items())
    print(f'Step {done["step"]:,} of {args.run} as {done["kind"]} "{done["name"]}": '
          f"{count(done['parameters'])} parameters, {size(done['bytes'])} in {done['path']}")
    if args.target != "native":
        print(READ_BY[args.target])
        return
    print(f"Programs for CPU, CUDA and TPU: {programs}")
    for line in changes(done["quantisation"] or {}):
        print(line)
    if done["kind"] == "decoder":
        print(f'Next: ssljax generate {done["path"]} --prompt "..." or ssljax serve {done["path"]}')


def changes(quantisation: dict[str, Any]) -> list[str]:
    """Return what rounding weights changed, one line each."""
    if not quantisation:
        return []
    from ssljax.core.wording import size

    shown = ", ".join(f"{name.replace('_', ' ')} {value:.4g}"
                      for name, value in quantisation["made_up"].items())
    lines = [f"Rounded to {quantisation['kind']}: weights {size(quantisation['bytes_before'])} to "
             f"{size(quantisation['bytes'])}; on made-up inputs {shown}"]
    return lines + [f"  {label} {name.replace('_', ' ')}: {pair['full']:.4g} to "
                    f"{pair['rounded']:.4g}"
                    for label, figures in quantisation.get("held_out", {}).items()
                    for name, pair in figures.items() if None not in pair.values()]
