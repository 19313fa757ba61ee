"""ssljax serve: answer HTTP requests from artefacts."""

import argparse
import math
import os
from pathlib import Path

from ssljax.cli.arena import add_arena, options_of
from ssljax.cli.opening import add_opening, opened

EXAMPLES = """\
  ssljax serve quickstart/artefact                             on http://127.0.0.1:8000
  curl -s http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\
       -d '{"prompt": "def main():", "max_tokens": 50}'
  ssljax serve code=runs/a/artefact code@2=runs/b/artefact prose=runs/c/artefact
  ssljax keys add keys.json --name alice                       prints her key, once
  ssljax serve quickstart/artefact --keys keys.json --host 0.0.0.0 --port 443 \\
         --tls-cert chain.pem --tls-key key.pem
  ssljax serve new=runs/b/artefact old=runs/a/artefact --arena     compare them on the page, vote
"""


SIZES = ("cache_tokens", "page", "chunk", "steps", "guesses", "adaptive")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("models", metavar="[NAME[@VERSION]=]ARTEFACT", nargs="*",
                        help="folders that `ssljax export` wrote, and what clients call them; the "
                             "first version of a name gets all its traffic until /admin/traffic "
                             "moves it")
    parser.add_argument("--adapter", action="append", default=[], dest="adapters",
                        metavar="NAME[@VERSION][:BASE]=FOLDER",
                        help="a low-rank adapter as PEFT writes it, served as a model of this name "
                             "on the model BASE, which was exported with --adapters; repeatable")
    parser.add_argument("--models", dest="file", type=Path, metavar="FILE",
                        help="TOML with tables [[model]]: artefact, name, version, weight")
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to listen on; one that others can reach needs a key "
                             "(default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000,
                        help="0 takes any free one (default: %(default)s)")
    parser.add_argument("--slots", type=int, default=8,
                        help="requests decoded together (default: %(default)s)")
    parser.add_argument("--queue", type=int, default=64,
                        help="requests that may wait; more get a 429, or 503 when it is others "
                             "who wait (default: %(default)s)")
    parser.add_argument("--queue-tokens", type=float, default=math.inf, metavar="N",
                        help="tokens of prompts and answers that may wait (default: any number)")
    parser.add_argument("--grace", type=float, default=30.0, metavar="SECONDS",
                        help="for running requests to finish at the end (default: %(default)s)")
    add_sizes(parser.add_argument_group("how text is generated"))
    add_inputs(parser.add_argument_group("what is embedded and classified, and how it comes"))
    add_guards(parser.add_argument_group("who may ask"))
    add_records(parser.add_argument_group("what is kept"))
    page = parser.add_argument_group("the page at /")
    page.add_argument("--arena", action="store_true",
                      help="take votes on the page, rank the models by them, and keep both")
    add_arena(page)
    add_opening(parser)


def add_sizes(group: argparse._ArgumentGroup) -> None:
    """Declare the sizes of an engine; the defaults are those of serve/layout.py."""
    group.add_argument("--cache-tokens", type=int, metavar="N", default=argparse.SUPPRESS,
                       help="of all running requests together (default: half of slots x context)")
    group.add_argument("--page", type=int, metavar="N", default=argparse.SUPPRESS,
                       help="tokens of a page of the cache (default: 64)")
    group.add_argument("--chunk", type=int, metavar="N", default=argparse.SUPPRESS,
                       help="tokens of a prompt that are read at once (default: 128)")
    group.add_argument("--steps", type=int, metavar="N", default=argparse.SUPPRESS,
                       help="tokens of a row in one dispatch, at most (default: 8)")
    group.add_argument("--guesses", type=int, metavar="N", default=argparse.SUPPRESS,
                       help="next tokens that are looked up in the text and judged at once "
                            "(default: 0)")
    group.add_argument("--draft", type=Path, metavar="ARTEFACT",
                       help="a smaller model with the same tokenizer, which guesses them instead")
    group.add_argument("--tensor", type=int, default=1, metavar="N",
                       help="devices that share every model (default: %(default)s)")
    group.add_argument("--adaptive", action="store_true", default=argparse.SUPPRESS,
                       help="decode no more rows than are busy, without the promise that numbers "
                            "do not depend on the load")


def add_inputs(group: argparse._ArgumentGroup) -> None:
    """Declare what concerns inputs of encoders, and the other protocol."""
    group.add_argument("--rows", type=int, default=0, metavar="N",
                       help="inputs in one batch (default: by their shape and the device)")
    group.add_argument("--fetch-urls", action="store_true",
                       help="inputs may be http(s) URLs at public addresses (default: refused)")
    group.add_argument("--grpc-port", type=int, default=0, metavar="PORT",
                       help="offer KServe's protocol by gRPC there as well; needs ssljax[grpc]")


def add_guards(group: argparse._ArgumentGroup) -> None:
    """Declare what concerns keys and certificates."""
    group.add_argument("--keys", type=Path, metavar="FILE", help="keys that `ssljax keys` wrote")
    group.add_argument("--api-key", help="one key more, without limits; better in SSLJAX_API_KEY, "
                                         "where other users cannot see it")
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="PEM, the whole chain")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM")


def add_records(group: argparse._ArgumentGroup) -> None:
    """Declare what concerns jobs and the request log."""
    group.add_argument("--jobs", type=Path, metavar="FOLDER",
                       help="offer /v1/files and /v1/batches, and keep them here")
    group.add_argument("--log", type=Path, metavar="FOLDER",
                       help="a Parquet row for every request, without prompts and answers")
    group.add_argument("--log-sample", type=float, default=1.0, metavar="SHARE",
                       help="of the requests, 0 to 1 (default: all)")
    group.add_argument("--log-text", action="store_true", help="keep prompts and answers too")


def run(args: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    from ssljax.core.errors import ServeError
    from ssljax.runs.named_models import one_adapter, read_models
    from ssljax.runs.serve import serve
    from ssljax.serve.announcement import announcement
    from ssljax.serve.log import LogOptions

    if bool(args.tls_cert) != bool(args.tls_key):
        raise ServeError("--tls-cert and --tls-key belong together; give both or neither.")
    models = read_models(args.models, args.file)
    adapters = [one_adapter(argument) for argument in args.adapters]

    api_key = args.api_key or os.environ.get("SSLJAX_API_KEY")
    keyed = bool(api_key or args.keys)
    serve(models, trusted=opened(args), host=args.host, port=args.port, slots=args.slots,
          queue=args.queue, queue_tokens=args.queue_tokens,
          sizes={name: getattr(args, name) for name in SIZES if name in args},
          tensor=args.tensor, adapters=adapters, draft=args.draft,
          grace=args.grace, announce=lambda url, served: print(
              *announcement(url, served, keyed=keyed), sep="\n", flush=True),
          keys=args.keys, jobs=args.jobs,
          rows=args.rows, fetch_urls=args.fetch_urls, grpc_port=args.grpc_port,
          arena=options_of(args, keeps=args.arena),
          tls=(args.tls_cert, args.tls_key) if args.tls_cert else None,
          log=LogOptions(args.log, args.log_sample, args.log_text) if args.log else None,
          api_key=api_key)
    print("Stopped; every request that was running has ended.")
