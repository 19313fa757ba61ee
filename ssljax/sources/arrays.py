"""Arrays in memory or on disk: row i of every array is record i.

A folder of NAME.npy files is mapped into memory and may be larger than it; an .npz file is loaded
whole. From Python, `from_mapping` takes the arrays themselves. Returns {"id": uint32 [2],
**fields}.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ssljax.core.errors import DataError
from ssljax.core.rng import record_id
from ssljax.core.source import Record, Source
from ssljax.sources.files import files_hash, find_files


def make(*, path: str, tokenizer_path: str = "", cache: str) -> Source:
    """Open an .npz file, or a folder of .npy files.

    Args:
        path: the file or folder.
        tokenizer_path: the tokenizer.json that made "tokens", where there are any.
        cache: folder of checksums.

    Raises:
        DataError: nothing there, or the arrays are not equally long.
    """
    files = find_files(path, ".npy")
    checked(path, load(path))
    return ArrayFiles(path, files_hash(files, cache), tokenizer_path)


def from_mapping(arrays: Mapping[str, np.ndarray]) -> Source:
    """Return a source over arrays in memory.

    Args:
        arrays: field -> array [records, ...].

    Raises:
        DataError: the arrays are not equally long.
    """
    plain = checked("The mapping", {name: np.asarray(a) for name, a in arrays.items()})
    digest = hashlib.sha256()
    for name, array in sorted(plain.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return Arrays(plain, digest.hexdigest()[:16])


def checked(where: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays.

    Raises:
        DataError: they have no rows in common, or hold Python objects.
    """
    sizes = {name: a.shape[:1] for name, a in arrays.items()}
    if len(set(sizes.values())) != 1 or () in sizes.values() or "id" in sizes:
        raise DataError(f'{where} has arrays of {sizes} rows; expected one number for all, and '
                        'none called "id".')
    return arrays


@functools.cache
def load(path: str) -> dict[str, np.ndarray]:
    """Return the arrays of a file or folder, once a process.

    Raises:
        DataError: they cannot be read.
    """
    try:
        if path.endswith(".npz"):
            with np.load(path) as file:
                return dict(file)
        return {Path(f).stem: np.load(f, mmap_mode="r") for f in find_files(path, ".npy")}
    except (OSError, ValueError, EOFError) as err:
        raise DataError(f"{path} cannot be read as numpy arrays: {err}") from err


def rows(arrays: Mapping[str, np.ndarray], name: str, indices: np.ndarray) -> list[Record]:
    """Return the records at `indices`; `name` stands for the dataset in their ids."""
    taken = {field: np.asarray(array[indices]) for field, array in arrays.items()}
    return [{"id": record_id(name, int(i)), **{f: column[n] for f, column in taken.items()}}
            for n, i in enumerate(indices)]


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Records in memory; worker processes get a copy each."""

    arrays: Mapping[str, np.ndarray]
    sha256: str

    def __len__(self) -> int:
        """Return the number of records."""
        return len(next(iter(self.arrays.values())))

    def read(self, indices: np.ndarray) -> list[Record]:
        """Return the records at `indices`."""
        return rows(self.arrays, self.sha256, np.asarray(indices, np.int64))

    def fingerprint(self) -> Mapping[str, str]:
        """Return a hash of the content."""
        return {"arrays": self.sha256}


@dataclasses.dataclass(frozen=True)
class ArrayFiles:
    """Records on disk; holds the path, so that it pickles small."""

    path: str
    sha256: str
    tokenizer_path: str

    def __len__(self) -> int:
        """Return the number of records."""
        return len(next(iter(load(self.path).values())))

    def read(self, indices: np.ndarray) -> list[Record]:
        """Return the records at `indices`."""
        return rows(load(self.path), self.sha256, np.asarray(indices, np.int64))

    def fingerprint(self) -> Mapping[str, str]:
        """Return a hash of the content."""
        return {"arrays": self.sha256}
