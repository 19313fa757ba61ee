"""What verbs that open an artefact share: whose it must be, and where programs are kept."""

import argparse
from pathlib import Path


def add_opening(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    group = parser.add_argument_group("opening an artefact")
    group.add_argument("--trusted-key", type=Path, action="append", default=[], metavar="FILE",
                       help="PEM file of a public Ed25519 key; artefacts that none of these keys "
                            "signed are refused (`ssljax export --sign`)")
    group.add_argument("--programs", default="", metavar="FOLDER",
                       help='where compiled programs are kept for the next start; "off" keeps '
                            "none (default: programs/ in the user's cache)")


def opened(args: argparse.Namespace) -> tuple[Path, ...]:
    """Keep compiled programs as told; return the trusted keys."""
    from ssljax.runs import process

    # A server compiles dozens of programs that take 20 to 100 ms each: all are worth a file.
    process.keep_programs(args.programs or process.default_programs(), least=0.0)
    return tuple(args.trusted_key)
