"""ssljax generate: continue a prompt from an artefact, or draw images from a run, in the shell."""

import argparse
import os
import sys

from ssljax.cli.opening import add_opening, opened

EXAMPLES = """\
  ssljax generate quickstart/artefact --prompt "def main():"
  ssljax generate quickstart/artefact --prompt "import" --temperature 0 --max-tokens 200
  cat notes.txt | ssljax generate quickstart/artefact --prompt -
  ssljax generate runs/flow_matching --n 16 --out grid.png
  ssljax generate runs/flow_matching --n 64 --out cats.png --steps 50 --guidance 2 --label 3
  ssljax generate runs/image_gpt --out grid.png --temperature 0.9 --seed 1
"""
TEXT = ("prompt", "max_tokens", "top_p")
IMAGES = ("n", "out", "checkpoint", "batch_size", "steps", "solver", "guidance", "label")
SAMPLING = ("steps", "solver", "guidance", "label", "temperature")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments; None is what was not told."""
    parser.add_argument("source", metavar="ARTEFACT|RUN",
                        help="the folder `ssljax export` wrote, for text; or the folder a run of "
                             "images was trained in")
    parser.add_argument("--temperature", type=float,
                        help="of text: 0 always takes the most probable token (default: 0.8); of "
                             "images of an image_gpt (default: 1)")
    parser.add_argument("--seed", type=int,
                        help="the same seed gives the same result; default: random for text, 0 "
                             "for images")
    text = parser.add_argument_group("text, from an artefact")
    text.add_argument("--prompt", help="what to continue; - reads it from stdin")
    text.add_argument("--max-tokens", type=int, help="default: 100")
    text.add_argument("--top-p", type=float,
                      help="draws from the most probable tokens of this mass (default: 0.95)")
    images = parser.add_argument_group("images, from a run")
    images.add_argument("--n", type=int, help="how many (default: 16)")
    images.add_argument("--out", metavar="FILE.png", help="where the grid goes (default: grid.png)")
    images.add_argument("--checkpoint", type=int, metavar="STEP", help="default: the newest")
    images.add_argument("--batch-size", type=int, help="images drawn at once (default: 16)")
    images.add_argument("--steps", type=int, help="of a flow's solver (default: 50)")
    images.add_argument("--solver", choices=("euler", "heun"), help="of a flow (default: heun)")
    images.add_argument("--guidance", type=float,
                        help="scale of classifier-free guidance; 1 is none (default)")
    images.add_argument("--label", type=int, help="the class of all images; default: any")
    add_opening(parser)


def run(args: argparse.Namespace) -> None:
    """Print a text as it comes, or write a grid of images.

    Raises:
        ConfigError: an option of text was given for a run, or one of images for an artefact.
    """
    if is_run(args.source):
        refuse(args, TEXT, "is a run, which generates images; for text, export it")
        draw_images(args)
    else:
        refuse(args, IMAGES, "is no run: images are drawn from the --workdir of `ssljax pretrain`")
        continue_prompt(args)


def is_run(path: str) -> bool:
    """Say whether a folder is one that `ssljax pretrain` trained in.

    An artefact has a config.json too, that of its model; but only artefacts have a manifest.
    """
    if os.path.isfile(f"{path}/manifest.json"):
        return False
    return os.path.isfile(f"{path}/config.json") or os.path.isdir(f"{path}/checkpoints")


def refuse(args: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Raise ConfigError if an option was told that means nothing here."""
    from ssljax.core.errors import ConfigError

    told = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None]
    if told:
        raise ConfigError(f"{args.source} {why}. Leave {', '.join(told)} out.")


def continue_prompt(args: argparse.Namespace) -> None:
    """Print the prompt and, as it comes, its continuation."""
    from ssljax.core.errors import ConfigError
    from ssljax.runs.generate import generate

    if args.prompt is None:
        raise ConfigError('Text continues a prompt: add --prompt "...", or --prompt - for stdin.')
    prompt = sys.stdin.read() if args.prompt == "-" else args.prompt
    told = {name: getattr(args, name) for name in ("max_tokens", "top_p", "temperature", "seed")
            if getattr(args, name) is not None}
    for text in generate(args.source, prompt, trusted=opened(args), **told):
        print(text, end="", flush=True)
    print()


def draw_images(args: argparse.Namespace) -> None:
    """Draw images under a progress bar and write their grid.

    Raises:
        ConfigError: the grid's name does not end in .png.
        MissingExtraError: what training needs is not installed.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    from ssljax.core.errors import ConfigError, MissingExtraError

    count, out = 16 if args.n is None else args.n, args.out or "grid.png"
    if not out.lower().endswith(".png"):
        raise ConfigError(f"--out {out}: the grid is a PNG file; use a name that ends in .png.")
    options = {name: getattr(args, name) for name in SAMPLING if getattr(args, name) is not None}
    try:
        from ssljax.runs.generate_images import generate_images, write_grid
    except ModuleNotFoundError as err:
        raise MissingExtraError((err.name or "").partition(".")[0], "train") from err
    with Progress("draw", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                  console=Console(stderr=True)) as bar:
        task = bar.add_task("draw", total=count)
        images = generate_images(
            args.source, count, step=args.checkpoint, seed=args.seed or 0, options=options,
            batch_size=args.batch_size or 16,
            progress=lambda done: bar.update(task, completed=done))
    write_grid(out, images)
    print(f"{count} images of {images.shape[1]} by {images.shape[2]} pixels in {out}")
