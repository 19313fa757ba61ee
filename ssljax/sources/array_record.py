"""ArrayRecord files: records by random access, about 100,000 a second a core.

https://github.com/google/array_record. Write them with group_size:1, or every read decompresses a
group. A record is what ssljax.sources.record encodes, with any fields ("image" uint8 [H, W, C],
"tokens" int32 [n], "label", ...), or any bytes. Returns {"id": uint32 [2], **fields}.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from ssljax.core.errors import DataError, UnreadableRecordError, needed
from ssljax.core.rng import record_id
from ssljax.core.source import Record, Source
from ssljax.sources.files import files_hash, find_files
from ssljax.sources.record import decode, encode


def make(*, path: str, records: Literal["ssljax", "bytes"] = "ssljax", tokenizer_path: str = "",
         cache: str) -> Source:
    """Open the files at `path`.

    Args:
        path: a file, a folder of *.array_record files, or a pattern.
        records: "ssljax" decodes fields; "bytes" gives {"bytes": ...} for the pretext to decode.
        tokenizer_path: the tokenizer.json that made "tokens", where there are any.
        cache: folder of checksums.

    Raises:
        DataError: no files there.
        MissingExtraError: array_record is not installed.
    """
    files = find_files(path, ".array_record")
    reader(files)
    return ArrayRecords(files, records, files_hash(files, cache), tokenizer_path)


@functools.cache
def reader(files: tuple[str, ...]) -> Any:
    """Open files, once a process; threads may share the result.

    Raises:
        DataError: they are not ArrayRecord files.
    """
    with needed("array_record", "train"):
        from array_record.python.array_record_data_source import ArrayRecordDataSource
    try:
        opened = ArrayRecordDataSource(list(files))
        len(opened)
        return opened
    except (RuntimeError, ValueError, OSError) as err:
        raise DataError(f"{files[0]} and its like are not ArrayRecord files: {err}") from err


@dataclasses.dataclass(frozen=True)
class ArrayRecords:
    """Records of files; holds paths, so that it pickles small.

    files:          in order
    records:        how a record is read
    sha256:         of the files' content
    tokenizer_path: of the tokenizer.json that made "tokens", or empty
    """

    files: tuple[str, ...]
    records: str
    sha256: str
    tokenizer_path: str

    def __len__(self) -> int:
        """Return the number of records."""
        return len(reader(self.files))

    def read(self, indices: np.ndarray) -> list[Record]:
        """Return the records at `indices`, fetched in one call."""
        try:
            raw = reader(self.files).__getitems__([int(i) for i in indices])
        except (RuntimeError, ValueError) as err:
            raise UnreadableRecordError(f"{self.files[0]} and its like: {err}") from err
        read = decode if self.records == "ssljax" else lambda data: {"bytes": data}
        return [{"id": record_id(self.sha256, int(i)), **read(data)}
                for i, data in zip(indices, raw, strict=True)]

    def fingerprint(self) -> Mapping[str, str]:
        """Return a hash of the content and how it is read."""
        return {"array_record": self.sha256, "records": self.records}


def write(path: str, records: Iterable[Mapping[str, Any]]) -> int:
    """Write records to one file; return how many.

    Args:
        path: the file.
        records: fields by name; "id" is left out, it comes from the file's content.

    Raises:
        MissingExtraError: array_record is not installed.
    """
    with needed("array_record", "train"):
        from array_record.python.array_record_module import ArrayRecordWriter
    writer, count = ArrayRecordWriter(path, "group_size:1"), 0
    try:
        for record in records:
            writer.write(encode({k: v for k, v in record.items() if k != "id"}))
            count += 1
    finally:
        writer.close()
    return count
