"""Images of a folder, of zip or tar archives, or of tables, as encoded bytes by random access.

    source = dict(name="images", path="photos/")            a folder, with all folders in it
    source = dict(name="images", path="cifar10.zip")        a zip
    source = dict(name="images", path="shards/*.tar")       WebDataset
    source = dict(name="images", path="data/")              *.parquet as Hugging Face writes them,
                                                            *.array_record of files' bytes

What `path` is decides how it is read. Returns {"id": uint32 [2], "image": bytes as the file has
them, "label": int, "text": str}, the last two where they are known; pixels are the pretext's
business, so that a damaged image costs nobody but itself. Classes are numbered by order of name,
`classes` has the names. Archives and folders: ssljax/sources/image_index.py says where labels come
from; the listing stays in the cache, mapped into memory.
"""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssljax.core.cache import entry
from ssljax.core.errors import ConfigError, DataError
from ssljax.core.source import Record, Source
from ssljax.sources.files import find_files
from ssljax.sources.image_index import NO_LABEL, is_image, write_index
from ssljax.sources.image_members import LIST, Member, folder_members, read_member
from ssljax.sources.image_tables import open_table

TABLES = (".parquet", ".array_record")


def make(*, path: str, limit: int = 0, cache: str) -> Source:
    """Open the images at `path`.

    Args:
        path: a folder, an archive, a table, or a pattern of archives or tables.
        limit: use only so many, the first in the order of their ids, which are hashes: the same
            ones on every machine, and more of them as it rises. 0 uses all.
        cache: folder of listings.

    Raises:
        ConfigError: the path is empty.
        DataError: there is nothing there, or no image.
    """
    if not path:
        raise ConfigError("source.path is empty; expected a folder, zip or tar of images, or "
                          "Parquet or ArrayRecord files. Set --config.data.path=DIR.")
    suffix, files = what_is(path)
    whole = open_table(suffix, files) if suffix in TABLES else open_files(path, suffix, files,
                                                                         cache)
    return Limited(whole, limit) if 0 < limit < len(whole) else whole


def what_is(path: str) -> tuple[str, tuple[str, ...]]:
    """Return the suffix of archives or tables and their paths; "" and none of a folder of images.

    Raises:
        DataError: there is nothing, or something else.
    """
    where = Path(path)
    if where.is_dir():
        names = sorted(os.listdir(where))
        for suffix in (*LIST, *TABLES):
            files = tuple(str(where / n) for n in names if n.endswith(suffix))
            if files and not any(is_image(n) for n in names):
                return suffix, files
        return "", ()
    files = find_files(path, "")
    suffix = Path(files[0]).suffix
    if suffix not in (*LIST, *TABLES):
        raise DataError(f"{files[0]} is neither a folder nor one of {', '.join((*LIST, *TABLES))}; "
                        "compressed tars have no random access: decompress them first.")
    return suffix, files


def open_files(path: str, suffix: str, files: tuple[str, ...], cache: str) -> "Images":
    """Return the images of a folder, or of archives, listed once."""
    if suffix:
        stats = [(os.path.abspath(f), os.stat(f).st_size, os.stat(f).st_mtime_ns) for f in files]
        key: dict = {"archives": stats}
    else:
        listed = folder_members(path)
        lines = "\n".join(f"{m.name}\0{m.stored}" for m in listed)
        digest = hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()
        key = {"folder": os.path.abspath(path), "listing": digest}

    def members() -> list[Member]:
        return [m for i, f in enumerate(files) for m in LIST[suffix](f, i)] if suffix else listed

    def read(member: Member) -> bytes:
        return read_member(files[member.where] if files else os.path.join(path, member.name),
                           member)

    several = [Path(f).name for f in files] if len(files) > 1 else []
    folder = entry(cache, "images", key, lambda f: write_index(members(), read, several, f))
    about = json.loads((folder / "about.json").read_text("utf-8"))
    return Images(path, files, str(folder), about["listing"], tuple(about["classes"]))


class Index(NamedTuple):
    """What write_index left: rows, and the strings they point into."""

    rows: np.ndarray
    strings: np.ndarray


@functools.cache
def open_index(folder: str) -> Index:
    """Map an index into memory, once a process."""
    return Index(np.load(Path(folder, "rows.npy"), mmap_mode="r"),
                 np.memmap(Path(folder, "strings.bin"), np.uint8, "r"))


@dataclasses.dataclass(frozen=True)
class Images:
    """Files of a folder or of archives; holds paths, so that it pickles small.

    path:    what was asked for
    files:   the archives; none of a folder
    index:   folder of the listing
    listing: hash of names, sizes, labels and captions
    classes: names of the labels, where they have any
    """

    path: str
    files: tuple[str, ...]
    index: str
    listing: str
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(open_index(self.index).rows)

    def ids(self) -> np.ndarray:
        """Return the id of every image, uint32 [len, 2]."""
        return np.asarray(open_index(self.index).rows["id"])

    def read(self, indices: np.ndarray) -> list[Record]:
        """Return the images at `indices`.

        Raises:
            UnreadableRecordError: the file is cut, damaged or gone.
        """
        return [self._record(int(i)) for i in indices]

    def fingerprint(self) -> Mapping[str, str]:
        """Return a hash of the listing; the files' content is not read for it."""
        return {"images": self.listing}

    def _record(self, index: int) -> Record:
        rows, strings = open_index(self.index)
        row = rows[index]
        middle = int(row["name"]) + int(row["name_bytes"])
        name = bytes(strings[int(row["name"]):middle]).decode(errors="surrogateescape")
        member = Member(name, *(int(row[f]) for f in Member._fields[1:]))
        path = self.files[member.where] if self.files else os.path.join(self.path, name)
        record = {"id": np.array(row["id"]), "image": read_member(path, member)}
        if row["label"] != NO_LABEL:
            record["label"] = int(row["label"])
        if row["text_bytes"] >= 0:
            record["text"] = bytes(strings[middle:middle + int(row["text_bytes"])]).decode()
        return record


@dataclasses.dataclass(frozen=True)
class Limited:
    """The first `limit` records of another source in the order of their ids."""

    whole: Images
    limit: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the labels."""
        return self.whole.classes

    def __len__(self) -> int:
        """Return the number of records."""
        return self.limit

    def read(self, indices: np.ndarray) -> list[Record]:
        """Return the records at `indices`."""
        return self.whole.read(chosen(self.whole, self.limit)[np.asarray(indices, np.int64)])

    def fingerprint(self) -> Mapping[str, str]:
        """Return the whole's fingerprint and the limit."""
        return {**self.whole.fingerprint(), "limit": str(self.limit)}


@functools.cache
def chosen(whole: Images, limit: int) -> np.ndarray:
    """Return the numbers of the records with the `limit` lowest ids, int64, rising."""
    ids = whole.ids().astype(np.uint64)
    order = np.argsort(ids[:, 1] << np.uint64(32) | ids[:, 0], kind="stable")
    return np.sort(order[:limit])
