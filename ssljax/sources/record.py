"""A record as bytes: the format of our ArrayRecord files and of materialised streams.

    uint32, little-endian: length of the header
    header: JSON, [[name, kind, shape], ...]; kind is a numpy dtype such as "<i4", or "str",
            "bytes" (shape is their length), "int", "float", "bool" (shape is the value)
    the values end to end: arrays in C order, text as UTF-8

Nothing in it can run code, and 40 lines read it; tf.train.Example would need protobuf, pickles are
not safe, msgpack knows no arrays.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from ssljax.core.errors import DataError, UnreadableRecordError

LENGTH = struct.Struct("<I")


def encode(record: Mapping[str, Any]) -> bytes:
    """Return a record as bytes.

    Raises:
        DataError: a value is no array, string, bytes or plain number.
    """
    header, body = [], []
    for name, value in record.items():
        kind, shape, data = encode_value(name, value)
        header.append([name, kind, shape])
        body.append(data)
    head = json.dumps(header, separators=(",", ":")).encode()
    return b"".join([LENGTH.pack(len(head)), head, *body])


def encode_value(name: str, value: Any) -> tuple[str, Any, bytes]:
    """Return (kind, shape or number, bytes) of one value."""
    if isinstance(value, bool | int | float):
        return type(value).__name__, value, b""
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        return type(value).__name__, len(data), data
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.kind not in "biufc":
        raise DataError(f"Field {name!r} of a record is {type(value).__name__} ({array.dtype}); "
                        "expected an array of numbers, a string, bytes or a number.")
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.dtype.str, list(array.shape), little.tobytes()


def decode(data: bytes | memoryview) -> dict[str, Any]:
    """Return the record in `data`; arrays share its memory and are read-only.

    Raises:
        UnreadableRecordError: the bytes are no record.
    """
    try:
        (length,) = LENGTH.unpack_from(data)
        record, low = {}, LENGTH.size + length
        for name, kind, shape in json.loads(bytes(data[LENGTH.size:low])):
            record[name], low = decode_value(data, low, kind, shape)
        if low != len(data):
            raise ValueError(f"{len(data)} bytes, expected {low}")
        return record
    except (struct.error, ValueError, TypeError) as err:
        raise UnreadableRecordError(f"A record is damaged, or was not written by ssljax: {err}."
                                    ) from err


def decode_value(data: bytes | memoryview, low: int, kind: str, shape: Any) -> tuple[Any, int]:
    """Return (value, where the next one begins)."""
    if kind in ("int", "float", "bool"):
        return shape, low
    if kind in ("str", "bytes"):
        raw = bytes(data[low:low + shape])
        return (raw.decode() if kind == "str" else raw), low + shape
    dtype = np.dtype(kind)
    count = int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(data, dtype, count, low).reshape(shape)
    return array, low + count * dtype.itemsize
