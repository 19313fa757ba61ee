"""What lies in the files that steps read: what a step makes depends on it, not on their paths.

A step's module names in `READS` the arguments that are paths of such files or folders (evaluation
sets, filters, lists, examples), and in `FITS` the one of a model that it makes where it is absent
(data_pipelines/fitted.py). Reads files; returns plain data for keys.
"""

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssljax.core.config import find_make
from ssljax.core.files import sha256


def read_by(spec: Mapping[str, Any], attributes: tuple[str, ...] = ("READS",)) -> dict[str, Any]:
    """Return argument -> content of the files that a step reads.

    Args:
        spec: the step's name and arguments.
        attributes: of its module: READS, and FITS once the model is there.
    """
    module = sys.modules[find_make("steps", str(spec["name"]), root="data_pipelines").__module__]
    names = [n for attribute in attributes for n in getattr(module, attribute, ())]
    return {n: content(spec[n]) for n in names if spec.get(n)}


def content(path: str | list | tuple) -> Any:
    """Return what tells apart what lies at a path: a hash, of a folder one for each file in it.

    Several paths give a list. What is absent gives None: the step says what it lacks.
    """
    if not isinstance(path, str):
        return [content(p) for p in path]
    place = Path(path)
    if place.is_dir():
        return {f.relative_to(place).as_posix(): hash_file(f) for f in sorted(place.rglob("*"))
                if f.is_file()}
    return hash_file(place) if place.is_file() else None


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, read once while its size and time stay."""
    about = path.stat()
    return remembered(path, about.st_size, about.st_mtime_ns, about.st_ino)


@functools.lru_cache(maxsize=4096)
def remembered(path: Path, size: int, mtime_ns: int, inode: int) -> str:
    """Return the SHA-256 of a file."""
    del size, mtime_ns, inode
    return sha256(path)
