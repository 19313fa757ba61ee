"""What every dataset looks like to the rest of ssljax: records by random access. Free of jax."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ssljax.core.errors import UnreadableRecordError

Packing = Literal["best_fit", "concatenate"]     # how documents become rows: see data/packing.py
WINDOW = 4096                    # records in memory while a source is read from end to end
Record = Mapping[str, Any]       # always has "id": uint32 [2], a hash of source and record


@runtime_checkable
class Source(Protocol):
    """Records addressed by index, the same bytes on every call, from every process.

    Implementations are frozen dataclasses that hold paths and open files lazily, so that they
    pickle small and cross to worker processes; they never raise StopIteration.
    """

    def __len__(self) -> int:
        """Return the number of records."""

    def read(self, indices: np.ndarray) -> Sequence[Record]:
        """Return the records at int64 [n] `indices`, in that order."""

    def fingerprint(self) -> Mapping[str, str]:
        """Return what the content depends on, as short strings; equal content, equal mapping."""


@runtime_checkable
class SizedSource(Source, Protocol):
    """A source that knows the length of its records without reading them, so packing can plan."""

    def lengths(self) -> np.ndarray:
        """Return the number of tokens of each record, int64 [len]."""


class Vocabulary(NamedTuple):
    """What packing must know of the ids in a source's records.

    size:        number of ids, boundary tokens included
    end_of_text: the id that ends every document, and starts every context
    fingerprint: a hash; equal fingerprints, equal meaning of ids
    """

    size: int
    end_of_text: int
    fingerprint: str


class Filter(NamedTuple):
    """Which records of a source are used.

    keep:        record -> bool; the same answer for the same record, always
    fingerprint: what the answers depend on, as plain data
    """

    keep: Callable[[Record], bool]
    fingerprint: Mapping[str, Any]


def read_each(source: Source, indices: np.ndarray) -> list[Record | UnreadableRecordError]:
    """Return the record at each of `indices`, or why that one cannot be read.

    All at once first, which is fast; one by one only where a record is damaged.
    """
    try:
        return list(source.read(indices))
    except UnreadableRecordError as err:
        if len(indices) == 1:
            return [err]
    return [found for i in indices for found in read_each(source, np.array([i]))]


def windows(source: Source) -> Iterator[list[Record | UnreadableRecordError]]:
    """Yield all records in order, at most WINDOW at a time."""
    for first in range(0, len(source), WINDOW):
        yield read_each(source, np.arange(first, min(first + WINDOW, len(source))))
