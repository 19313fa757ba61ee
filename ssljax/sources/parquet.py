"""Parquet files: rows by random access through their row groups; columns become fields.

A row costs the decoding of its whole group, and the last few groups stay in memory: shuffled
training wants groups of some hundred rows, or a `materialised` copy. Lists of numbers become
arrays. Returns {"id": uint32 [2], **fields}.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssljax.core.errors import DataError, UnreadableRecordError, nearest, needed
from ssljax.core.rng import record_id
from ssljax.core.source import Record, Source
from ssljax.sources.files import files_hash, find_files

GROUPS = 16                      # row groups in memory


def make(*, path: str, fields: Mapping[str, str] | None = None,
         shapes: Mapping[str, Sequence[int]] | None = None, tokenizer_path: str = "",
         cache: str) -> Source:
    """Open the files at `path`.

    Args:
        path: a file, a folder of *.parquet files, or a pattern.
        fields: field of the record -> column; every column under its own name unless told.
        shapes: field -> shape of what its list holds, such as (8, 8, 1) of an image.
        tokenizer_path: the tokenizer.json that made "tokens", where there are any.
        cache: folder of checksums.

    Raises:
        DataError: no files there, they are not Parquet, or a column is missing.
        MissingExtraError: pyarrow is not installed.
    """
    files = find_files(path, ".parquet")
    columns = open_file(files[0]).schema_arrow.names
    chosen = dict(fields or {name: name for name in columns})
    for field, column in chosen.items():
        if column not in columns:
            raise DataError(f'{files[0]} has no column "{column}" for the field "{field}"; '
                            f"{nearest(column, columns)}")
    plain = tuple((f, c, tuple((shapes or {}).get(f, ()))) for f, c in sorted(chosen.items()))
    return Parquet(files, plain, files_hash(files, cache), tokenizer_path)


@functools.cache
def open_file(path: str) -> Any:
    """Open one file, once a process.

    Raises:
        DataError: it is not Parquet.
        MissingExtraError: pyarrow is not installed.
    """
    with needed("pyarrow", "curate"):
        import pyarrow.parquet
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as err:
        raise DataError(f"{path} cannot be read as Parquet: {err}") from err


@functools.lru_cache(maxsize=GROUPS)
def read_group(path: str, group: int, columns: tuple[str, ...]) -> Any:
    """Return one row group of a file as a table."""
    import pyarrow

    try:
        return open_file(path).read_row_group(group, columns=list(columns), use_threads=False)
    except (pyarrow.ArrowException, OSError) as err:
        raise UnreadableRecordError(f"Row group {group} of {path} is damaged: {err}") from err


@functools.cache
def group_starts(files: tuple[str, ...]) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """Return the first row of each row group, int64 [groups + 1], and each one's (file, number)."""
    metas = [(f, open_file(f).metadata) for f in files]
    groups = [(f, g, meta.row_group(g).num_rows) for f, meta in metas
              for g in range(meta.num_row_groups)]
    return np.cumsum([0, *(rows for *_, rows in groups)]), [(f, g) for f, g, _ in groups]


@dataclasses.dataclass(frozen=True)
class Parquet:
    """Rows of files; holds paths, so that it pickles small.

    files:          in order
    fields:         (field, column, shape or ()) of each
    sha256:         of the files' content
    tokenizer_path: of the tokenizer.json that made "tokens", or empty
    """

    files: tuple[str, ...]
    fields: tuple[tuple[str, str, tuple[int, ...]], ...]
    sha256: str
    tokenizer_path: str

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(group_starts(self.files)[0][-1])

    def read(self, indices: np.ndarray) -> list[Record]:
        """Return the rows at `indices`; each row group they lie in is read once."""
        starts, groups = group_starts(self.files)
        indices = np.asarray(indices, np.int64)
        where = np.searchsorted(starts, indices, side="right") - 1
        records: list[Record] = [{}] * len(indices)
        columns = tuple(column for _, column, _ in self.fields)
        for group in np.unique(where):
            table = read_group(*groups[group], columns)
            for at in np.flatnonzero(where == group):
                row = int(indices[at] - starts[group])
                fields = {field: value(table[column][row], shape)
                          for field, column, shape in self.fields}
                records[at] = {"id": record_id(self.sha256, int(indices[at])), **fields}
        return records

    def fingerprint(self) -> Mapping[str, str]:
        """Return a hash of the content, and the columns read."""
        fields = ", ".join(f"{f}={c}{list(s) if s else ''}" for f, c, s in self.fields)
        return {"parquet": self.sha256, "fields": fields}


def value(scalar: Any, shape: tuple[int, ...]) -> Any:
    """Return a cell as Python or numpy knows it; a list of numbers is an array."""
    inner = getattr(scalar, "values", None)
    if inner is None:
        return scalar.as_py()
    array = inner.to_numpy(zero_copy_only=False)
    return array.reshape(shape) if shape else array
