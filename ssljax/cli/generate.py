"""ssljax generate: continue a prompt from an artefact, in the shell."""

import argparse
import sys

EXAMPLES = """\
  ssljax generate quickstart/artefact --prompt "def main():"
  ssljax generate quickstart/artefact --prompt "import" --temperature 0 --max-tokens 200
  cat notes.txt | ssljax generate quickstart/artefact --prompt -
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("artefact", metavar="ARTEFACT", help="the folder `ssljax export` wrote")
    parser.add_argument("--prompt", required=True, help="what to continue; - reads it from stdin")
    parser.add_argument("--max-tokens", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--temperature", type=float, default=0.8,
                        help="0 always takes the most probable token (default: %(default)s)")
    parser.add_argument("--top-p", type=float, default=0.95,
                        help="draws from the most probable tokens of this mass "
                             "(default: %(default)s)")
    parser.add_argument("--seed", type=int,
                        help="the same seed gives the same text; default: random")


def run(args: argparse.Namespace) -> None:
    """Print the prompt and, as it comes, its continuation."""
    from ssljax.runs.generate import generate

    prompt = sys.stdin.read() if args.prompt == "-" else args.prompt
    for text in generate(args.artefact, prompt, max_tokens=args.max_tokens, top_p=args.top_p,
                         temperature=args.temperature, seed=args.seed):
        print(text, end="", flush=True)
    print()
