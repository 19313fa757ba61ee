"""ssljax serve: answer HTTP requests from an artefact."""

import argparse
import os

EXAMPLES = """\
  ssljax serve quickstart/artefact                             on http://127.0.0.1:8000
  curl -s http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\
       -d '{"prompt": "def main():", "max_tokens": 50}'
  SSLJAX_API_KEY=... ssljax serve quickstart/artefact --host 0.0.0.0 --port 80
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("artefact", metavar="ARTEFACT", help="the folder `ssljax export` wrote")
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to listen on; one that others can reach needs a key "
                             "(default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000,
                        help="0 takes any free one (default: %(default)s)")
    parser.add_argument("--api-key", help="what clients must send as a bearer token; better in "
                                          "SSLJAX_API_KEY, where other users cannot see it")
    parser.add_argument("--slots", type=int, default=8,
                        help="requests decoded together (default: %(default)s)")
    parser.add_argument("--queue", type=int, default=64,
                        help="requests that may wait; more get a 429 (default: %(default)s)")
    parser.add_argument("--grace", type=float, default=30.0, metavar="SECONDS",
                        help="for running requests to finish at the end (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    from ssljax.runs.serve import serve

    def announce(url: str) -> None:
        print(f"Serving {args.artefact} on {url} (Ctrl-C ends; try prompts on {url}/)", flush=True)

    serve(args.artefact, host=args.host, port=args.port, slots=args.slots, queue=args.queue,
          grace=args.grace, announce=announce,
          api_key=args.api_key or os.environ.get("SSLJAX_API_KEY"))
    print("Stopped; every request that was running has ended.")
