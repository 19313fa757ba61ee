"""ssljax arena: a page that compares the models of any OpenAI-compatible servers side by side."""

import argparse
import os
from pathlib import Path

EXAMPLES = """\
  ssljax arena --endpoint new=https://a.example/v1 --endpoint old=https://b.example/v1#gpt2
  ssljax arena --endpoint ours=http://127.0.0.1:8000 --endpoint vllm=http://127.0.0.1:8001 \\
         --allow-private --port 9000
  SSLJAX_API_KEY=... ssljax arena --endpoint big=https://c.example --endpoint-key big=BIG_KEY \\
         --data runs/data/text --host 0.0.0.0

`ssljax serve ARTEFACT ... --arena` shows the same page for models that this machine serves.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_arena(parser)
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to listen on; one that others can reach needs a key "
                             "(default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000,
                        help="0 takes any free one (default: %(default)s)")
    parser.add_argument("--keys", type=Path, metavar="FILE", help="keys that `ssljax keys` wrote")
    parser.add_argument("--api-key", help="who may use the page; better in SSLJAX_API_KEY, where "
                                          "other users cannot see it")


def add_arena(parser: argparse._ActionsContainer) -> None:
    """Declare what concerns the page; `ssljax serve` has the same."""
    parser.add_argument("--arena-folder", type=Path, metavar="FOLDER", default=Path("runs/arena"),
                        help="of votes, transcripts and saved prompts (default: %(default)s)")
    parser.add_argument("--data", type=Path, action="append", default=[], metavar="DATASET",
                        help="show the rows of a data set there, to those with a key; nearest "
                             "neighbours come from its images. May be repeated")
    parser.add_argument("--endpoint", action="append", default=[], metavar="NAME=URL[#MODEL]",
                        help="compare a model of an OpenAI-compatible server too")
    parser.add_argument("--endpoint-key", action="append", default=[], metavar="NAME=VARIABLE",
                        help="the environment variable with that server's key")
    parser.add_argument("--allow-private", action="store_true",
                        help="endpoints may be on this machine or in a private network")


def run(args: argparse.Namespace) -> None:
    """Show the page until SIGTERM or Ctrl-C."""
    from ssljax.runs.arena import compare
    from ssljax.runs.serve import check_of

    key = args.api_key or os.environ.get("SSLJAX_API_KEY")
    compare(options_of(args, keeps=True), check_of(key, args.keys),
            host=args.host, port=args.port,
            announce=lambda url: print(f"Compare models on {url}/ (Ctrl-C ends)", flush=True))


def options_of(args: argparse.Namespace, *, keeps: bool) -> object:
    """Return what the page is to show, and where it keeps votes if it keeps any."""
    from ssljax.runs.arena_options import ArenaOptions

    folder = args.arena_folder if keeps else None
    return ArenaOptions(folder, tuple(args.data), tuple(args.endpoint), tuple(args.endpoint_key),
                        args.allow_private)
