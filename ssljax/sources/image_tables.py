"""Encoded images in Parquet and ArrayRecord files. Free of jax.

Parquet: the column of images is a struct {bytes, path}, as Hugging Face's `datasets` writes it, or
binary; a column "label" (numbers, or names) and one of captions are used where they are there.
ArrayRecord: a record is an image file's bytes, or what ssljax.sources.record encodes with bytes
under "image".
"""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ssljax.core.errors import DataError, UnreadableRecordError
from ssljax.core.rng import record_id
from ssljax.core.source import Record
from ssljax.sources.array_record import reader
from ssljax.sources.image_index import CAPTIONS, LABELS
from ssljax.sources.parquet import group_starts, open_file, read_group
from ssljax.sources.record import decode

IMAGES = ("image", "img", "jpg", "png", "webp", "bytes")
MAGIC = (b"\xff\xd8", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")   # image files


def open_table(suffix: str, files: tuple[str, ...]) -> "ParquetImages | ArrayRecordImages":
    """Return the images in tables.

    Raises:
        DataError: a Parquet file has no column of images.
        MissingExtraError: pyarrow or array_record is not installed.
    """
    about = json.dumps([(os.path.basename(f), os.path.getsize(f)) for f in files])
    listing = hashlib.sha256(about.encode()).hexdigest()[:16]
    if suffix == ".array_record":
        reader(files)
        return ArrayRecordImages(files, listing)
    schema = open_file(files[0]).schema_arrow
    label = next((n for n in (*LABELS, "labels", "fine_label") if n in schema.names), "")
    text = next((n for n in CAPTIONS if n in schema.names), "")
    return ParquetImages(files, listing, image_column(files[0], schema), label, text,
                         class_names(files, schema, label))


def image_column(path: str, schema: Any) -> str:
    """Return the column of a Parquet file that has images, as pyarrow names it for reading.

    Raises:
        DataError: there is none, or none with a usual name among several.
    """
    import pyarrow as pa

    found = {}
    for column in schema:
        if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
            found[column.name] = f"{column.name}.bytes"
        elif pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            found[column.name] = column.name
    name = next((n for n in IMAGES if n in found), next(iter(found)) if len(found) == 1 else "")
    if not name:
        raise DataError(f"{path} has no column of images: expected one binary column, or a struct "
                        f"with bytes, called {IMAGES[0]!r} if there are several; it has "
                        f"{', '.join(schema.names)}.")
    return found[name]


def class_names(files: tuple[str, ...], schema: Any, label: str) -> tuple[str, ...]:
    """Return the names of classes: of Hugging Face's metadata, or of a column of strings."""
    import pyarrow as pa

    if not label:
        return ()
    if pa.types.is_integer(schema.field(label).type):
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = about.get("info", {}).get("features", {}).get(label, {})
        return tuple(feature.get("names", ())) if isinstance(feature, dict) else ()
    names: set[str] = set()
    for path in files:
        for group in range(open_file(path).num_row_groups):
            names.update(map(str, read_group(path, group, (label,))[label].unique().to_pylist()))
    return tuple(sorted(names))


@dataclasses.dataclass(frozen=True)
class ParquetImages:
    """Rows of files; holds paths, so that it pickles small.

    files:   in order
    listing: hash of their names and sizes
    image:   the column of images, "image.bytes" of a struct
    label:   the column of classes, or empty
    text:    the column of captions, or empty
    classes: names of the labels, where they have any
    """

    files: tuple[str, ...]
    listing: str
    image: str
    label: str
    text: str
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(group_starts(self.files)[0][-1])

    def ids(self) -> np.ndarray:
        """Return the id of every row, uint32 [len, 2]."""
        return ids_of(self.listing, len(self))

    def read(self, indices: np.ndarray) -> list[Record]:
        """Return the rows at `indices`; each row group they lie in is read once."""
        starts, groups = group_starts(self.files)
        indices = np.asarray(indices, np.int64)
        where = np.searchsorted(starts, indices, side="right") - 1
        records: list[Record] = [{}] * len(indices)
        columns = tuple(c for c in (self.image, self.label, self.text) if c)
        for group in np.unique(where):
            table = read_group(*groups[group], columns)
            for at in np.flatnonzero(where == group):
                row = {c: table[c][int(indices[at] - starts[group])].as_py()
                       for c in table.column_names}
                records[at] = self._record(int(indices[at]), row)
        return records

    def fingerprint(self) -> Mapping[str, str]:
        """Return a hash of the files' names and sizes, and the columns read."""
        return {"images": self.listing, "columns": f"{self.image} {self.label} {self.text}".strip()}

    def _record(self, index: int, row: Mapping[str, Any]) -> Record:
        cell = row[self.image.partition(".")[0]] or {}
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if data is None:
            raise UnreadableRecordError(f"Row {index} of {self.files[0]} and its like has no bytes "
                                        "of an image.", reason="no_bytes")
        record = {"id": record_id(self.listing, index), "image": data}
        if self.label:
            label = row[self.label]
            record["label"] = label if isinstance(label, int) else self.classes.index(str(label))
        if self.text and isinstance(row[self.text], str):
            record["text"] = row[self.text]
        return record


@dataclasses.dataclass(frozen=True)
class ArrayRecordImages:
    """Records of files; holds paths, so that it pickles small.

    files:   in order
    listing: hash of their names and sizes
    """

    files: tuple[str, ...]
    listing: str
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of records."""
        return len(reader(self.files))

    def ids(self) -> np.ndarray:
        """Return the id of every record, uint32 [len, 2]."""
        return ids_of(self.listing, len(self))

    def read(self, indices: np.ndarray) -> list[Record]:
        """Return the records at `indices`, fetched in one call."""
        try:
            raw = reader(self.files).__getitems__([int(i) for i in indices])
        except (RuntimeError, ValueError) as err:
            raise UnreadableRecordError(f"{self.files[0]} and its like: {err}",
                                        reason="unreadable_file") from err
        return [{"id": record_id(self.listing, int(i)),
                 **({"image": data} if data.startswith(MAGIC) else decode(data))}
                for i, data in zip(indices, raw, strict=True)]

    def fingerprint(self) -> Mapping[str, str]:
        """Return a hash of the files' names and sizes."""
        return {"images": self.listing}


@functools.cache
def ids_of(listing: str, count: int) -> np.ndarray:
    """Return the ids of the rows of a table, uint32 [count, 2]."""
    return np.stack([record_id(listing, i) for i in range(count)])
