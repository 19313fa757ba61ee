"""Which files of a folder a recipe reads, before any is opened.

Reads a folder recursively; returns the table of its readable files and what was passed over.
Two listings are equal where paths, sizes and modification times are: then curation is skipped.
"""

import hashlib
import json
import os
import sysconfig
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from ssljax.core.errors import DataError

CRAWLED = (".warc", ".arc", ".wet", ".pdf", ".parquet")     # read by data_pipelines/readers
SUFFIXES = (".txt", ".md", ".rst", ".py", ".html", ".jsonl", *CRAWLED)
SKIPPED_FOLDERS = ("site-packages", "dist-packages", "__pycache__")
SCHEMA = pa.schema([("source", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64())])


class Listing(NamedTuple):
    """The files of an input folder.

    files:   table of source (relative path), size (bytes; -1 where even that is unreadable) and
             mtime_ns, in order of source
    ignored: suffix -> number of files that no reader takes
    """

    files: pa.Table
    ignored: dict[str, int]

    @property
    def hash(self) -> str:
        """Return a hash of paths, sizes and times."""
        return hashlib.sha256(json.dumps(self.files.to_pydict()).encode()).hexdigest()[:16]

    @property
    def bytes(self) -> int:
        """Return the size of all files together."""
        return sum(max(0, size) for size in self.files["size"].to_pylist())


def standard_library() -> str:
    """Return the folder of this interpreter's standard library: real text on every machine."""
    return sysconfig.get_path("stdlib")


def list_files(folder: str, *, without: Sequence[str] = ()) -> Listing:
    """List the readable files below `folder`, without hidden and installed ones.

    Args:
        folder: where to look; links to folders are not followed.
        without: folders to leave out, such as the output.

    Raises:
        DataError: no such folder, it cannot be read, or it has no file of a known kind.
    """
    try:
        os.listdir(folder)
    except OSError as err:
        raise DataError(f"Input {folder} cannot be read: {err.strerror}; expected a folder of "
                        f"{' '.join(SUFFIXES)} files (or these with .gz).") from err
    files, unreadable = walk(Path(folder), [Path(w).resolve() for w in without])
    taken = [f for f in files if suffix(f) in SUFFIXES]
    ignored = Counter(suffix(f) or "no suffix" for f in files if suffix(f) not in SUFFIXES)
    if not taken:
        seen = ", ".join(f"{n} {s}" for s, n in ignored.most_common(5)) or "no files"
        raise DataError(f"Input {folder} has nothing to read: found {seen}; expected "
                        f"{' '.join(SUFFIXES)} files (or these with .gz).")
    rows = [{"source": source(f, folder), **stat(f)} for f in sorted(taken + unreadable)]
    return Listing(pa.Table.from_pylist(rows, schema=SCHEMA), dict(sorted(ignored.items())))


def suffix(path: Path) -> str:
    """Return the lower-case suffix that decides how a file is read, .gz aside."""
    path = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return path.suffix.lower()


def source(path: Path, folder: str) -> str:
    """Return a file's name in tables; one that is not UTF-8 is escaped, and cannot be opened."""
    return path.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode()


def walk(folder: Path, without: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the files below `folder`, and the folders that cannot be listed."""
    found: list[Path] = []
    unreadable: list[Path] = []
    for where, folders, files in os.walk(
            folder, onerror=lambda err: unreadable.append(Path(err.filename))):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in SKIPPED_FOLDERS
                      and Path(where, f).resolve() not in without]
        found += [Path(where, f) for f in files]
    return found, unreadable


def stat(path: Path) -> dict[str, int]:
    """Return a file's size and modification time; -1 where it cannot be had."""
    try:
        found = path.stat()
    except OSError:
        return {"size": -1, "mtime_ns": -1}
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}
