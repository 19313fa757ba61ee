"""Values of the open inference protocol's tensors (KServe v2) to arrays and back.

Values are nested or flat lists in JSON, or bytes: little-endian in row-major order, and elements of
BYTES each after its length in four bytes. https://github.com/kserve/open-inference-protocol and
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssljax.core.errors import RequestError
from ssljax.serve.checks import show

DATATYPES: Mapping[str, type] = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32,
    "UINT64": np.uint64, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}
NAMES = {np.dtype(kind): name for name, kind in DATATYPES.items()}
KINDS = {"b": "b", "u": "iu", "i": "iu", "f": "iuf"}    # kinds of JSON's values for a datatype's


class Tensor(NamedTuple):
    """A named array; of objects, each `bytes`, where the protocol says BYTES."""

    name: str
    data: np.ndarray


def values_of(name: str, datatype: str, data: list[Any]) -> np.ndarray:
    """Return the values of JSON lists, flat."""
    if datatype == "BYTES":
        items = flat(data)
        if not all(isinstance(item, str) for item in items):
            raise RequestError(f"Tensor {show(name)} is BYTES; expected strings in its data.")
        return objects_of([item.encode("utf-8", "surrogatepass") for item in items])
    try:
        array = np.array(data)
    except (ValueError, OverflowError, RecursionError) as err:
        raise RequestError(f"Tensor {show(name)} has ragged data ({err}).") from err
    kind = np.dtype(DATATYPES[datatype])
    if array.size and array.dtype.kind not in KINDS[kind.kind]:
        raise RequestError(f"Tensor {show(name)} is {datatype}; its data hold other values.")
    if array.size and kind.kind in "iu" and not (
            np.iinfo(kind).min <= array.min() and array.max() <= np.iinfo(kind).max):
        raise RequestError(f"Tensor {show(name)} is {datatype}; its data hold numbers beyond it.")
    with np.errstate(over="ignore"):
        return array.astype(kind).ravel()


def flat(data: Any) -> list[Any]:
    """Return the leaves of nested lists."""
    leaves, stack = [], [iter(data)]
    while stack:                                     # recursion would end where JSON's own does
        for item in stack[-1]:
            if isinstance(item, list):
                stack.append(iter(item))
                break
            leaves.append(item)
        else:
            stack.pop()
    return leaves


def raw_values(name: str, datatype: str, data: bytes) -> np.ndarray:
    """Return the values in a tensor's bytes, flat."""
    if datatype == "BYTES":
        return objects_of(split_bytes(name, data))
    kind = np.dtype(DATATYPES[datatype]).newbyteorder("<")
    if len(data) % kind.itemsize:
        raise RequestError(f"Tensor {show(name)} has {len(data)} bytes, not a multiple of the "
                           f"{kind.itemsize} of {datatype}.")
    return np.frombuffer(data, kind)


def split_bytes(name: str, data: bytes) -> list[bytes]:
    """Return the elements of BYTES, each after its length in four bytes."""
    items, at = [], 0
    while at < len(data):
        if at + 4 > len(data):
            raise RequestError(f"Tensor {show(name)} ends within the length of an element.")
        [length] = struct.unpack_from("<I", data, at)
        if at + 4 + length > len(data):
            raise RequestError(f"Tensor {show(name)} ends within an element.")
        items.append(data[at + 4:at + 4 + length])
        at += 4 + length
    return items


def objects_of(items: Sequence[bytes]) -> np.ndarray:
    """Return an array of objects; NumPy would make one of fixed-width strings."""
    array = np.empty(len(items), object)
    array[:] = items
    return array


def shaped(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return flat values in their shape."""
    wanted = math.prod(shape)
    if wanted != values.size:            # Python prints no number of more than 4,300 digits
        raise RequestError(f"Tensor {show(name)} has {values.size} values; its shape "
                           f"{show(shape)} wants {wanted if wanted < 2**63 else 'more'}.")
    try:
        return values.reshape(shape)
    except (ValueError, OverflowError) as err:       # sizes beyond NumPy's beside one of 0
        raise RequestError(f"Tensor {show(name)} has shape {show(shape)}, which no array has "
                           f"({err}).") from err


def raw_bytes(data: np.ndarray) -> bytes:
    """Return an array as the protocol's bytes."""
    if data.dtype == object:
        return b"".join(struct.pack("<I", len(item)) + item for item in data.ravel())
    return np.ascontiguousarray(data.astype(data.dtype.newbyteorder("<"), copy=False)).tobytes()


def name_of_type(data: np.ndarray) -> str:
    """Return the protocol's name of an array's type."""
    return "BYTES" if data.dtype == object else NAMES[data.dtype]
