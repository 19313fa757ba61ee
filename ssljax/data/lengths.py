"""The number of tokens of every record of a source that does not know: read once, then cached."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ssljax.core.cache import entry
from ssljax.core.errors import ConfigError, DataError, UnreadableRecordError
from ssljax.core.source import Record, Source, windows


@dataclasses.dataclass(frozen=True)
class Measured:
    """The lengths of a source's records, in the file `path`."""

    path: str

    def lengths(self) -> np.ndarray:
        """Return the number of tokens of each record, int64 [len], mapped from the disk."""
        return np.memmap(self.path, "<i8", "r")


def with_lengths(source: Source, cache: str) -> Measured:
    """Return the lengths of record["tokens"], measured in bounded windows the first time.

    Raises:
        ConfigError: there is no cache to keep them in.
        DataError: a record has no tokens, or cannot be read.
    """
    if not cache:
        raise ConfigError("A source that does not know the lengths of its documents is packed only "
                          "with a cache; give packed(..., cache=FOLDER).")

    def write(folder: Path) -> None:
        with (folder / "lengths.i8").open("wb") as file:
            for records in windows(source):
                file.write(np.fromiter(measured(records), "<i8").tobytes())

    key = {"source": dict(source.fingerprint()), "records": len(source)}
    return Measured(str(entry(cache, "lengths", key, write) / "lengths.i8"))


def measured(records: list[Record | UnreadableRecordError]) -> Iterator[int]:
    """Yield the number of tokens of each record.

    Raises:
        DataError: one has none, or cannot be read.
    """
    for record in records:
        if isinstance(record, UnreadableRecordError):
            raise DataError(f"{record} Packing needs every length: put a `filtered` source around "
                            "this one, which leaves unreadable records out.") from record
        if "tokens" not in record:
            raise DataError(f"A record has no tokens to pack: it has {sorted(record)}. Name the "
                            "column of ids in source.fields, or put a `tokenised` source around."
                            )
        yield len(record["tokens"])
