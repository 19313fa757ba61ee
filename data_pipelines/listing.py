"""Which files of a folder a recipe reads, before any is opened.

Reads a folder, or a URL of one by fsspec, recursively; returns the table of its readable files and
what was passed over.
Two listings are equal where paths, sizes and modification times are: then curation is skipped.
"""

import hashlib
import json
import os
import sysconfig
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import pyarrow as pa

from ssljax.core.errors import DataError
from ssljax.core.rng import hash64

ARCHIVES = (".warc", ".arc", ".wet")
PACKED = (".gz", ".lz4", ".zst")        # the last two of web archives alone
# Read by data_pipelines/readers.
CRAWLED = (*ARCHIVES, ".pdf", ".parquet", ".arrow", ".csv", ".tsv", ".zip", ".tar", ".tgz")
CODE = (".py", ".js", ".ts", ".java", ".c", ".h", ".cc", ".cpp", ".hpp", ".cs", ".go", ".rs", ".rb",
        ".php", ".sh", ".sql", ".jl", ".r", ".scala", ".kt", ".swift", ".lua", ".pl")
SUFFIXES = (".txt", ".md", ".rst", ".html", ".htm", ".jsonl", ".ndjson", *CODE, *CRAWLED)
SKIPPED_FOLDERS = ("site-packages", "dist-packages", "__pycache__")
EXPECTED = f"expected a folder of {' '.join(SUFFIXES)} files (or these with .gz)"
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
        folder: path or URL of where to look; links to folders are not followed.
        without: folders to leave out, such as the output.

    Raises:
        DataError: no such folder, it cannot be read, or it has no file of a known kind.
    """
    if is_url(folder):
        found = list_url(folder)
        return chosen(folder, {f: found[f] for f in found}, {})
    try:
        os.listdir(folder)
    except OSError as err:
        raise DataError(f"Input {folder} cannot be read: {err.strerror}; {EXPECTED}.") from err
    files, unreadable = walk(Path(folder), [Path(w).resolve() for w in without])
    return chosen(folder, {source(f, folder): stat(f) for f in files},
                  {source(f, folder): stat(f) for f in unreadable})


def chosen(folder: str, files: Mapping[str, dict[str, int]],
           unreadable: Mapping[str, dict[str, int]]) -> Listing:
    """Return the listing of the files that some reader takes, and of what cannot be listed.

    Raises:
        DataError: there are none.
    """
    taken = {f: about for f, about in files.items() if suffix(PurePath(f)) in SUFFIXES}
    ignored = Counter(suffix(PurePath(f)) or "no suffix" for f in files if f not in taken)
    if not taken:
        seen = ", ".join(f"{n} {s}" for s, n in ignored.most_common(5)) or "no files"
        raise DataError(f"Input {folder} has nothing to read: found {seen}; {EXPECTED}.")
    rows = [{"source": f, **about} for f, about in sorted({**taken, **unreadable}.items())]
    return Listing(pa.Table.from_pylist(rows, schema=SCHEMA), dict(sorted(ignored.items())))


def is_url(path: str) -> bool:
    """Say whether a path is a URL, which fsspec opens."""
    return "://" in path


def inside(folder: str, source: str) -> str | Path:
    """Return where a listed file lies, as `readers.opening.opened` takes it."""
    return f"{folder.rstrip('/')}/{source}" if is_url(folder) else Path(folder) / source


def list_url(folder: str) -> dict[str, dict[str, int]]:
    """Return the size and time of each file below a URL, by its path from there.

    Raises:
        DataError: it cannot be listed.
    """
    import fsspec  # 40 ms to import, and local folders have no need of it
    try:
        files, root = fsspec.url_to_fs(folder)
        found = files.find(root, detail=True)
    except (OSError, ValueError, ImportError) as err:
        raise DataError(f"Input {folder} cannot be read: {err}; {EXPECTED}.") from err
    return {name[len(root.rstrip("/")) + 1:]: {"size": about.get("size") or 0,
                                               "mtime_ns": changed(about)}
            for name, about in found.items()}


def changed(about: Mapping[str, Any]) -> int:
    """Return what stands for the time of a change: stores tell a time, an ETag, or nothing."""
    known = next((about[n] for n in ("mtime", "LastModified", "last_modified", "created", "ETag",
                                     "md5Hash") if about.get(n) is not None), 0)
    known = known.timestamp() if hasattr(known, "timestamp") else known
    return int(known * 1e9) if isinstance(known, int | float) else hash64("changed", known) >> 1


def suffix(path: PurePath) -> str:
    """Return the lower-case suffix that decides how a file is read, a compressor's aside."""
    last, inner = path.suffix.lower(), PurePath(path.stem).suffix.lower()
    return inner if last == ".gz" or last in PACKED and inner in ARCHIVES else last


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
