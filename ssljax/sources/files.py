"""The files that a path names, and what stands for their content in a fingerprint. Free of jax."""

import glob
import hashlib
from pathlib import Path

from ssljax.core.cache import content_hash
from ssljax.core.errors import DataError


def find_files(path: str, suffix: str) -> tuple[str, ...]:
    """Return the files of `path` in order: one file, a folder's *suffix files, or a pattern's.

    Raises:
        DataError: there are none.
    """
    where = Path(path)
    found = [path] if where.is_file() else glob.glob(
        str(where / f"*{suffix}") if where.is_dir() else path)
    if not found:
        raise DataError(f"{path} names no files; expected a file, a folder with *{suffix} files, "
                        "or a pattern such as data/part-*.")
    return tuple(sorted(found))


def files_hash(files: tuple[str, ...], cache: str) -> str:
    """Return a hash of the content of files, in their order; each is read once and remembered."""
    return hashlib.sha256("".join(content_hash(f, cache) for f in files).encode()).hexdigest()[:16]
