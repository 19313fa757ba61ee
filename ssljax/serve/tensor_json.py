"""Requests and answers of the open inference protocol (KServe v2), as JSON or with bytes behind it.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
and Triton's binary extension: the tensors' bytes follow the JSON, whose length is in a header.
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ssljax.core.errors import RequestError
from ssljax.serve.checks import show, text
from ssljax.serve.fields import read_object
from ssljax.serve.tensors import (
    DATATYPES,
    Tensor,
    name_of_type,
    raw_bytes,
    raw_values,
    shaped,
    values_of,
)

LENGTH_HEADER = "Inference-Header-Content-Length"


class Wanted(NamedTuple):
    """An output that a request names, and whether as bytes behind the JSON."""

    name: str
    binary: bool


class Asked(NamedTuple):
    """A request.

    id:       of the client's, to be repeated; "" for none
    inputs:   tensors
    outputs:  those it names; () for what the model gives by default
    binary:   whether outputs that it does not name come as bytes
    """

    id: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Wanted, ...]
    binary: bool


def read_request(body: bytes, header: str | None) -> Asked:
    """Return what the body of an infer request asks.

    Args:
        body: JSON, and bytes behind it.
        header: how many bytes the JSON has; None where it is all.

    Raises:
        RequestError: naming what is wrong.
    """
    length = json_length(header, len(body))
    fields = read_object(body[:length])
    known = ("id", "parameters", "inputs", "outputs")
    for name in fields:
        if name not in known:
            raise RequestError(f"Unknown field {show(name)}; known: {', '.join(known)}.")
    inputs, at = [], length
    for entry in objects(fields, "inputs"):
        size = binary_size(entry)
        if size is None:
            inputs.append(tensor_of_json(entry))
        else:
            inputs.append(tensor_of_bytes(entry, body[at:at + size], size))
            at += size
    if at != len(body):
        raise RequestError(f"{len(body) - at} bytes follow what the inputs' binary_data_size "
                           "account for.")
    binary = parameters_of(fields).get("binary_data_output") is True
    wanted = tuple(Wanted(name_of(entry), parameters_of(entry).get("binary_data", binary) is True)
                   for entry in objects(fields, "outputs"))
    id = fields.get("id") or ""
    if not isinstance(id, str):
        raise RequestError(f"id is {show(id)}; expected a string.")
    return Asked(id, tuple(inputs), wanted, binary)


def json_length(header: str | None, whole: int) -> int:
    """Return how many of a body's bytes are JSON.

    Raises:
        RequestError: the header is no number of them.
    """
    if header is None:
        return whole
    if not (header.isascii() and header.isdecimal() and len(header) < 12 and int(header) <= whole):
        raise RequestError(f"{LENGTH_HEADER} is {show(header)}; expected a number up to {whole}, "
                           "the bytes of the body.")
    return int(header)


def objects(fields: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a field that is a list of objects, perhaps absent."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise RequestError(f"{name} is {show(value)}; expected a list of objects.")
    return value


def parameters_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request or tensor, perhaps absent."""
    value = entry.get("parameters")
    if value is not None and not isinstance(value, dict):
        raise RequestError(f"parameters is {show(value)}; expected an object.")
    return value or {}


def binary_size(entry: Mapping[str, Any]) -> int | None:
    """Return how many bytes of a tensor follow the JSON; None where its data are in it."""
    size = parameters_of(entry).get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise RequestError(f"binary_data_size is {show(size)}; expected a number of bytes.")
    return size


def name_of(entry: Mapping[str, Any]) -> str:
    """Return a tensor's name."""
    name = entry.get("name")
    if not isinstance(name, str):
        raise RequestError(f"A tensor has the name {show(name)}; expected a string.")
    return text("name", name)


def shape_of(entry: Mapping[str, Any]) -> tuple[int, ...]:
    """Return a tensor's shape."""
    shape = entry.get("shape")
    if not isinstance(shape, list) or any(type(n) is not int or n < 0 for n in shape) or (
            len(shape) > 8):
        raise RequestError(f"Tensor {show(name_of(entry))} has shape {show(shape)}; expected a "
                           "list of up to 8 sizes.")
    return tuple(shape)


def datatype_of(entry: Mapping[str, Any]) -> str:
    """Return a tensor's datatype."""
    datatype = entry.get("datatype")
    if not isinstance(datatype, str) or datatype not in ("BYTES", *DATATYPES):
        raise RequestError(f"Tensor {show(name_of(entry))} has datatype {show(datatype)}; expected "
                           f"BYTES, {', '.join(DATATYPES)}.")
    return datatype


def tensor_of_json(entry: Mapping[str, Any]) -> Tensor:
    """Return a tensor whose data are flat or nested lists; BYTES are strings."""
    name, datatype, data = name_of(entry), datatype_of(entry), entry.get("data")
    if not isinstance(data, list):
        raise RequestError(f"Tensor {show(name)} has data {show(data)}; expected a list.")
    return Tensor(name, shaped(name, values_of(name, datatype, data), shape_of(entry)))


def tensor_of_bytes(entry: Mapping[str, Any], data: bytes, size: int) -> Tensor:
    """Return a tensor whose data follow the JSON."""
    name, datatype = name_of(entry), datatype_of(entry)
    if len(data) != size:
        raise RequestError(f"Tensor {show(name)} should have {size} bytes behind the JSON; only "
                           f"{len(data)} are there.")
    return Tensor(name, shaped(name, raw_values(name, datatype, data), shape_of(entry)))


def write_response(head: Mapping[str, Any], tensors: Sequence[Tensor],
                   binary: Sequence[bool]) -> tuple[bytes, int | None]:
    """Return the body of an answer, and how many bytes of it are JSON if not all.

    Args:
        head: model_name, model_version and the like.
        tensors: the outputs.
        binary: whether each comes as bytes behind the JSON.
    """
    entries, tail = [], b""
    for tensor, raw in zip(tensors, binary, strict=True):
        entry = {"name": tensor.name, "datatype": name_of_type(tensor.data),
                 "shape": list(tensor.data.shape)}
        if raw:
            data = raw_bytes(tensor.data)
            tail += data
            entry["parameters"] = {"binary_data_size": len(data)}
        else:
            entry["data"] = [item.decode("utf-8", "replace") if isinstance(item, bytes) else item
                             for item in tensor.data.ravel().tolist()]
        entries.append(entry)
    told = json.dumps({**head, "outputs": entries}, separators=(",", ":")).encode()
    return (told + tail, len(told)) if any(binary) else (told, None)
