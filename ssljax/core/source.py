"""What every dataset looks like to the rest of ssljax: records by random access. Free of jax."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

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
