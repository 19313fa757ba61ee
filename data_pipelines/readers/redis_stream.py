"""A Redis stream as Parquet files, each entry in exactly one, however often the reader is killed.

A file holds a run of entries and is named by the offset of its last, so that the output and the
checkpoint are one atomic rename: nothing else remembers how far reading came. Redis streams keep
entries until they are trimmed (https://redis.io/docs/latest/develop/data-types/streams/), so that
they can be read again from any offset, as Kafka's partitions can. What was trimmed before it was
read is an error, never a silent gap.

Reads a stream; writes `<folder>/<milliseconds>-<sequence>.parquet`, offsets with leading zeros and
columns `offset` (string) and `fields` (map of string to bytes); returns the number of entries.
"""

import pathlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ssljax.core.errors import DataError, needed
from ssljax.core.files import write_atomic

SCHEMA = pa.schema([("offset", pa.string()), ("fields", pa.map_(pa.string(), pa.binary()))])


def read_stream(url: str, stream: str, folder: str, *, entries: int = 10_000,
                wait: float = 0.0) -> int:
    """Write what the stream has beyond the last file of `folder`; return how many entries.

    One reader at a time writes a folder: of two, both write the same entries under other names.

    Args:
        url: such as redis://localhost:6379/0.
        stream: its key.
        folder: of the files; made where it is absent.
        entries: most entries of a file.
        wait: seconds without a new entry after which reading ends; 0 ends with the last there is.

    Raises:
        MissingExtraError: [streams] is not installed.
        DataError: the broker cannot be reached, or entries were trimmed before they were read.
    """
    with needed("redis", "streams"):
        import redis
    total = 0
    try:
        with redis.Redis.from_url(url, socket_timeout=wait + 10) as client:
            check_trimmed(client, stream, folder)
            while found := next_entries(client, stream, last_offset(folder), entries, wait):
                write_entries(folder, found)
                total += len(found)
    except redis.RedisError as err:
        raise DataError(f"Stream {stream} of {url.rpartition('@')[2]} cannot be read: {err}. What "
                        "was read is kept; run again to go on.") from err
    return total


def last_offset(folder: str) -> str:
    """Return the offset of the last entry that was written, "0-0" before the first."""
    names = [f.stem for f in pathlib.Path(folder).glob("[0-9]*-[0-9]*.parquet")]
    return "-".join(str(int(part)) for part in max(names, default="0-0").split("-"))


def next_entries(client: Any, stream: str, after: str, entries: int,
                 wait: float) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Return the entries after an offset, waiting for the first of them."""
    # XREAD's block of 0 would wait for ever.
    block = max(1, int(wait * 1000)) if wait else None
    reply = client.xread({stream: after}, count=entries, block=block)
    if isinstance(reply, dict):             # the third version of the protocol answers with a map
        reply = [(key, found[0]) for key, found in reply.items()]
    return reply[0][1] if reply else []


def check_trimmed(client: Any, stream: str, folder: str) -> None:
    """Raise DataError if entries that were not read are no longer there.

    Trimming takes the oldest entries, so that where the first that is left was not read, all that
    are gone must have been; deleting takes single ones, of which the broker knows the last.
    """
    if not client.exists(stream):
        return
    info, after = client.xinfo_stream(stream), order(last_offset(folder))
    deleted = info.get("max-deleted-entry-id") or b"0-0"
    first = info["first-entry"]
    gone = info.get("entries-added", info["length"]) - info["length"]
    unread = not first or order(text(first[0])) > after
    if order(text(deleted)) > after or unread and gone > written(folder):
        raise DataError(f"Stream {stream}: entries were trimmed or deleted that {folder} does not "
                        "have. Begin a new stream, or keep entries longer (XTRIM, MAXLEN).")


def written(folder: str) -> int:
    """Return the number of entries in all files."""
    return sum(pq.read_metadata(f).num_rows for f in pathlib.Path(folder).glob("[0-9]*.parquet"))


def text(offset: bytes | str) -> str:
    """Return an offset as a string, whichever the client answers with."""
    return offset.decode() if isinstance(offset, bytes) else offset


def order(offset: str) -> tuple[int, int]:
    """Return an offset as numbers, which compare as entries follow each other."""
    milliseconds, _, sequence = offset.partition("-")
    return int(milliseconds), int(sequence or 0)


def write_entries(folder: str, found: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
    """Write entries as one file, which appears whole and under the offset of the last."""
    rows = [{"offset": offset.decode(),
             "fields": [(k.decode("utf-8", "replace"), v) for k, v in (fields or {}).items()]}
            for offset, fields in found]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), sink)
    milliseconds, sequence = order(rows[-1]["offset"])
    name = f"{milliseconds:020d}-{sequence:020d}.parquet"
    write_atomic(pathlib.Path(folder) / name, sink.getvalue().to_pybytes())
