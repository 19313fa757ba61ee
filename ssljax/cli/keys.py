"""ssljax keys: who may ask a server what, and how much."""

import argparse
from pathlib import Path

EXAMPLES = """\
  ssljax keys add keys.json --name alice --requests-per-minute 60 --tokens-per-minute 20000
  ssljax keys add keys.json --name ops --admin
  ssljax keys list keys.json
  ssljax keys revoke keys.json key-1a2b3c4d         a running server knows within a second
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="add|list|revoke")
    add = verbs.add_parser("add", help="make a key and print its secret, once")
    add.add_argument("file", type=Path)
    add.add_argument("--name", required=True, help="whose it is")
    add.add_argument("--requests-per-minute", type=float, default=0, metavar="N")
    add.add_argument("--tokens-per-minute", type=float, default=0, metavar="N",
                     help="read and generated")
    add.add_argument("--concurrency", type=int, default=0, metavar="N", help="calls open at once")
    add.add_argument("--model", action="append", default=[], metavar="NAME",
                     help="that it may use; all unless given, several times for several")
    add.add_argument("--admin", action="store_true", help="it may use /admin")
    verbs.add_parser("list", help="all keys, without secrets").add_argument("file", type=Path)
    revoke = verbs.add_parser("revoke", help="remove a key")
    revoke.add_argument("file", type=Path)
    revoke.add_argument("id", help="as `list` shows it")


def run(args: argparse.Namespace) -> None:
    """Change or show a file of keys."""
    from ssljax.serve.keys import new_key, read_keys, revoked, write_keys

    keys = read_keys(args.file) if args.file.exists() or args.action != "add" else ()
    if args.action == "add":
        key, secret = new_key(args.name, requests_per_minute=args.requests_per_minute,
                              tokens_per_minute=args.tokens_per_minute,
                              concurrency=args.concurrency, models=tuple(args.model),
                              admin=args.admin)
        write_keys(args.file, (*keys, key))
        print(f"{secret}\n{key.id} of {key.name}; {args.file} keeps only a hash: the line above is "
              "not shown again.")
    elif args.action == "revoke":
        write_keys(args.file, revoked(keys, args.id))
        print(f"{args.id} is revoked.")
    else:
        show(keys)


def show(keys: tuple) -> None:
    """Print a table of keys."""
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "name", "requests/min", "tokens/min", "at once", "models", "admin")
    for key in keys:
        limits = (key.requests_per_minute, key.tokens_per_minute, key.concurrency)
        table.add_row(key.id, key.name, *(f"{limit:g}" if limit else "any" for limit in limits),
                      ", ".join(key.models) or "all", "yes" if key.admin else "")
    Console().print(table)
