"""Records that can be read: a damaged one is counted by its reason and left out, never fatal."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from absl import logging

from ssljax.core.errors import DataError, UnreadableRecordError
from ssljax.core.source import Record, Source

T = TypeVar("T")


def each_readable(source: Source, records: Iterable[Record | UnreadableRecordError],
                  transform: Callable[[Record], T], *, least: int = 1) -> list[T]:
    """Return transform(record) of every record that can be read and transformed, in their order.

    Args:
        source: where the records are from, for what is said of them.
        records: what it returned.
        transform: may find a record unreadable too.
        least: how many must be left.

    Raises:
        DataError: fewer are left.
    """
    made, unread = [], Counter[str]()
    for record in records:
        try:
            if isinstance(record, UnreadableRecordError):
                raise record
            made.append(transform(record))
        except UnreadableRecordError as err:
            unread[err.reason] += 1
    if unread:
        logging.warning("%d of %d records to judge by cannot be read and are left out: %s.",
                        unread.total(), unread.total() + len(made), dict(unread))
    if len(made) < least:
        raise DataError(f"The source {dict(source.fingerprint())} has {len(made)} records that can "
                        f"be read, of {unread.total() + len(made)}; this judgement needs {least}.")
    return made
