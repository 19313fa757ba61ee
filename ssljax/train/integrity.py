"""Checksums of a checkpoint, committed with it: what Orbax does not notice, this does.

A bit flipped in an array file of a finished step loads silently wrong without them.
"""

import json
import pathlib

from ssljax.core.files import sha256, write_json

NAME = "_integrity.json"
# Written or changed by Orbax after the checksums are taken, and no proof of anything.
LATER = {NAME, "_CHECKPOINT_METADATA", "commit_success.txt"}


def files_of(step_dir: pathlib.Path) -> list[pathlib.Path]:
    """Return the files of a step that its checksums cover, sorted."""
    return sorted(p for p in step_dir.rglob("*") if p.is_file() and p.name not in LATER)


def write_checksums(step_dir: pathlib.Path) -> None:
    """Write size and SHA-256 of every file of a step into it."""
    sums = {str(p.relative_to(step_dir)): [p.stat().st_size, sha256(p)] for p in files_of(step_dir)}
    write_json(step_dir / NAME, sums)


def find_damage(step_dir: pathlib.Path) -> str | None:
    """Return what is wrong with a step, naming the file, or None."""
    try:
        sums = json.loads((step_dir / NAME).read_text())
    except FileNotFoundError:
        return f"{NAME} is missing: the step was never finished, or is half deleted"
    except (json.JSONDecodeError, UnicodeDecodeError):
        return f"{NAME} is not readable JSON"
    for name, (size, digest) in sums.items():
        path = step_dir / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes; {size} were written"
        if sha256(path) != digest:
            return f"{name} has changed since it was written (SHA-256 differs)"
    return None
