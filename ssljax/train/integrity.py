"""Checksums of a checkpoint, committed with it: what Orbax does not notice, this does.

A bit flipped in an array file of a finished step loads silently wrong without them.
"""

import hashlib
import json
from collections.abc import Iterator

from etils import epath

NAME = "_integrity.json"
# Written or changed by Orbax after the checksums are taken, and no proof of anything.
LATER = {NAME, "_CHECKPOINT_METADATA", "commit_success.txt"}


def sha256(path: epath.Path) -> str:
    """Return the hex SHA-256 of a file's content, on a disk or in a bucket."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def walk(folder: epath.Path) -> Iterator[epath.Path]:
    """Yield the files below a folder; epath's own walk loses the gs:// of a bucket's paths."""
    for path in folder.iterdir():
        if path.is_dir():
            yield from walk(path)
        else:
            yield path


def files_of(step_dir: epath.PathLike) -> list[epath.Path]:
    """Return the files of a step that its checksums cover, sorted."""
    return sorted(path for path in walk(epath.Path(step_dir)) if path.name not in LATER)


def write_checksums(step_dir: epath.Path) -> None:
    """Write size and SHA-256 of every file of a step into it."""
    sums = {str(p.relative_to(step_dir)): [p.stat().length, sha256(p)] for p in files_of(step_dir)}
    # The step's folder gets its name only after this: no reader can see half of the file.
    (step_dir / NAME).write_text(json.dumps(sums, indent=2, sort_keys=True) + "\n")


def find_damage(step_dir: epath.Path) -> str | None:
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
        if path.stat().length != size:
            return f"{name} has {path.stat().length} bytes; {size} were written"
        if sha256(path) != digest:
            return f"{name} has changed since it was written (SHA-256 differs)"
    return None
