"""manifest.json: what a dataset holds, where it came from, and how to tell that it is whole.

Written last and atomically: a dataset without one does not exist. Reads and returns `Manifest`,
the contract between curation, which writes datasets, and sources, which read them. Free of jax.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ssljax import __version__
from ssljax.core.errors import DataError
from ssljax.core.files import sha256, sync_folder, write_json

NAME = "manifest.json"
FORMAT = 1
CREATED_BY = f"ssljax {__version__}"
AGAIN = "run `ssljax curate` again with --overwrite, or restore the file from a copy"

Verify = Literal["checksum", "size"]


@dataclasses.dataclass(frozen=True)
class File:
    """One file of a dataset.

    path:   relative to the dataset, with forward slashes
    bytes:  its size
    sha256: of its content
    """

    path: str
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Shard(File):
    """A file of records.

    split:   which split it belongs to
    records: how many it holds; the split's records are its shards' in the order listed
    tokens:  how many those have together
    """

    split: str
    records: int
    tokens: int


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What is in a dataset and where it came from.

    name:           the recipe's name
    version:        hash of the content: equal versions, equal bytes
    parents:        what it was made from: {"path", "listing", "files", "bytes", ...} each
    licences:       licence -> documents kept under it
    recipe:         the configuration that made it, without paths
    recipe_hash:    of `recipe`
    tokenizer_hash: sha256 of the tokenizer's definition
    vocab_size:     number of ids
    splits:         split -> {"documents", "tokens", "text_bytes"}
    shards, files:  the records, and every other file
    read, kept:     documents
    dropped:        reason -> documents; read = kept + the sum of these
    created_by:     the package and its version
    """

    name: str
    version: str
    parents: tuple[Mapping[str, Any], ...]
    licences: Mapping[str, int]
    recipe: Mapping[str, Any]
    recipe_hash: str
    tokenizer_hash: str
    vocab_size: int
    splits: Mapping[str, Mapping[str, int]]
    shards: tuple[Shard, ...]
    files: tuple[File, ...]
    read: int
    kept: int
    dropped: Mapping[str, int]
    created_by: str = CREATED_BY
    format: int = FORMAT


def content_version(files: Iterable[File]) -> str:
    """Return the version of a dataset: a hash of the paths and checksums of its files."""
    listed = sorted((f.path, f.sha256) for f in files)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]


def read_manifest(folder: str | os.PathLike) -> Manifest:
    """Return the manifest of the dataset in `folder`.

    Raises:
        DataError: there is none, it is not valid, or another format's.
    """
    path = Path(folder) / NAME
    try:
        fields = json.loads(path.read_text("utf-8"))
        found = fields["format"]
    except FileNotFoundError as err:
        raise DataError(f"{folder} has no {NAME}; a dataset without one does not exist. Make it "
                        "with `ssljax curate --output DIR`, or pass the path of one.") from err
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DataError(f"{path} is not a manifest ({type(err).__name__}: {err}); {AGAIN}."
                        ) from err
    if found != FORMAT:
        raise DataError(f"{path} has format {found!r}; this version of ssljax reads format "
                        f"{FORMAT}. Curate the data again, or install the version that wrote it: "
                        f"{fields.get('created_by', 'unknown')}.")
    return from_fields(path, fields)


def from_fields(path: Path, fields: dict[str, Any]) -> Manifest:
    """Return the manifest of parsed JSON.

    Raises:
        DataError: a field is missing or unknown.
    """
    try:
        fields |= {"shards": tuple(Shard(**s) for s in fields["shards"]),
                   "files": tuple(File(**f) for f in fields["files"]),
                   "parents": tuple(fields["parents"])}
        return Manifest(**fields)
    except (KeyError, TypeError) as err:
        raise DataError(f"{path} is not a manifest of format {FORMAT} ({err}); {AGAIN}.") from err


def write_manifest(folder: str | os.PathLike, manifest: Manifest) -> None:
    """Write the manifest into `folder`: there is all of it, or none, whenever the machine stops."""
    write_json(Path(folder) / NAME, dataclasses.asdict(manifest))
    sync_folder(Path(folder))


def verify(folder: str | os.PathLike, manifest: Manifest, how: Verify = "checksum") -> None:
    """Check that every file of a dataset is what its manifest says.

    Args:
        folder: the dataset.
        manifest: its manifest.
        how: "size" looks at sizes only; "checksum" also reads every byte (about 1 GB/s a core).

    Raises:
        DataError: names each bad file, what was seen and expected, and how to fix it.
    """
    bad = list(defects(Path(folder), manifest, how))
    if bad:
        more = f" (and {len(bad) - 5} more)" if len(bad) > 5 else ""
        raise DataError(f"Dataset {folder} is damaged: {'; '.join(bad[:5])}{more}. To fix it, "
                        f"{AGAIN}.")


def defects(folder: Path, manifest: Manifest, how: Verify) -> Iterator[str]:
    """Yield a sentence for each file that is not what the manifest says."""
    for file in (*manifest.shards, *manifest.files):
        path = folder / file.path
        try:
            size = path.stat().st_size
            digest = sha256(path) if how == "checksum" and size == file.bytes else file.sha256
        except OSError as err:
            yield f"{file.path} cannot be read ({err.strerror}), expected {file.bytes} bytes"
            continue
        if size != file.bytes:
            kind = "truncated" if 0 < size < file.bytes else "empty" if not size else "too long"
            yield f"{file.path} is {kind}: {size} bytes, expected {file.bytes}"
        elif digest != file.sha256:
            yield (f"{file.path} has changed: its sha256 is {digest[:12]}, expected "
                   f"{file.sha256[:12]}")
