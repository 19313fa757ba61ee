"""Things computed once and kept in a folder under a hash of what they depend on. Free of jax.

    <cache>/<kind>/<hash>/key.json      {"key": what it depends on, "files": {name: bytes}}
    <cache>/<kind>/<hash>/...           what was written

key.json is written last and the folder renamed into place, so that an entry is whole or absent,
and processes that make the same entry at once do each other no harm. Deleting the cache costs time
and nothing else.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ssljax.core.errors import DataError
from ssljax.core.files import sha256, write_json

KEY = "key.json"


def users_folder() -> str:
    """Return the folder of the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return os.path.expanduser(f"{home}/ssljax")


def entry(cache: str | os.PathLike, kind: str, key: Mapping[str, Any],
          write: Callable[[Path], None]) -> Path:
    """Return the folder of what `key` names; made by write(folder) if it is not there yet.

    Args:
        cache: the cache's folder.
        kind: what sort of thing it is, such as "plans"; a folder's name.
        key: plain data; equal keys share one entry.
        write: fills an empty folder with files.

    Raises:
        DataError: the cache cannot be written.
    """
    digest = hash_plain(key)
    folder = Path(cache, kind, digest)
    if is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{digest}.", dir=folder.parent))
    except OSError as err:
        raise DataError(f"The cache {cache} cannot be written: {err.strerror}; set config.cache to "
                        "a folder that can.") from err
    try:
        write(partial)
        sizes = {f.name: f.stat().st_size for f in sorted(partial.iterdir())}
        write_json(partial / KEY, {"key": key, "files": sizes})
        take_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def take_place(partial: Path, folder: Path) -> None:
    """Give a finished entry its name, unless another process was first."""
    if folder.exists() and not is_whole(folder):
        shutil.rmtree(folder)
    try:
        partial.rename(folder)
    except OSError:
        if not is_whole(folder):
            raise


def is_whole(folder: Path) -> bool:
    """Say whether an entry is there with all its files at their sizes."""
    try:
        files = json.loads((folder / KEY).read_text("utf-8"))["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def hash_plain(value: Any) -> str:
    """Return 20 hexadecimal digits that stand for plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:20]


def content_hash(path: str | os.PathLike, cache: str | os.PathLike) -> str:
    """Return the SHA-256 of a file; read once, then known by its path, size and time of change.

    Raises:
        DataError: it cannot be read.
    """
    try:
        stat, where = os.stat(path), os.path.abspath(path)
        key = {"path": where, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        folder = entry(cache, "hashes", key,
                       lambda folder: write_json(folder / "sha256.json", sha256(Path(path))))
    except OSError as err:
        raise DataError(f"{path} cannot be read: {err.strerror}.") from err
    return json.loads((folder / "sha256.json").read_text("utf-8"))
