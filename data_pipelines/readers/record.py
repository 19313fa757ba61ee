"""One raw record, or the reason why there is none: what every reader yields.

A reader is a generator and never raises for bad data: what it cannot read is a record with an
`error`, so that whoever counts records has counted everything.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

MAX_BYTES = 64 << 20      # of one record; more is the error "too_large"


class Raw(NamedTuple):
    """A record as it was found.

    source:  path or URL; members of archives are "archive!member"
    row:     number of the record in its source, from 0
    offset:  byte where it begins: in the compressed file for WARC, else in the uncompressed one;
             -1 where the format has none
    payload: bytes as found, str where the format is text by definition, or a mapping of columns
    kind:    declared or sniffed type: "html", "text", "pdf", "image", "audio", "row", ...
    fields:  what the source says of it, such as url, charset, date, licence
    error:   one word where it could not be read, for counts; the payload is then empty
    detail:  the error in words
    """

    source: str
    row: int
    offset: int
    payload: bytes | str | Mapping[str, Any]
    kind: str
    fields: Mapping[str, Any] = {}
    error: str = ""
    detail: str = ""


def failed(source: str, row: int, offset: int, error: str, detail: object,
           fields: Mapping[str, Any] | None = None) -> Raw:
    """Return the record that stands for one that cannot be read."""
    return Raw(source, row, offset, b"", "error", fields or {}, error, str(detail)[:500])


def count_errors(records: Iterable[Raw]) -> dict[str, int]:
    """Return reason -> records, and how many are sound under ""."""
    return dict(Counter(record.error for record in records))
