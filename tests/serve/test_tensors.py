"""Tensors of KServe's protocol: JSON and bytes to arrays and back, and what is refused."""

import json

import numpy as np
import pytest

from ssljax.core.errors import RequestError
from ssljax.serve.tensor_json import read_request, write_response
from ssljax.serve.tensors import DATATYPES, Tensor, objects_of


def body(*inputs, **more):
    return json.dumps({"inputs": list(inputs), **more}).encode()


def one(data, datatype="INT32", shape=None, **more):
    return {"name": "x", "datatype": datatype, "data": data,
            "shape": [len(data)] if shape is None else shape, **more}


@pytest.mark.parametrize("datatype", DATATYPES)
def test_arrays_of_every_type_survive_as_bytes_and_as_json(datatype):
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(DATATYPES[datatype])
    for binary in (False, True):
        data, length = write_response({}, [Tensor("x", array)], [binary])
        [told] = json.loads(data[:length])["outputs"]
        request = body({**told}) + (data[length:] if binary else b"")
        header = str(len(body({**told}))) if binary else None
        [back] = read_request(request, header).inputs
        assert back.data.dtype == array.dtype and back.name == "x"
        np.testing.assert_array_equal(back.data, array)


def test_bytes_survive_whatever_they_are():
    items = objects_of([b"", b"\0\xff", "é".encode()]).reshape(3, 1)
    data, length = write_response({"model_name": "m"}, [Tensor("x", items)], [True])
    [told] = json.loads(data[:length])["outputs"]
    assert told["datatype"] == "BYTES" and told["shape"] == [3, 1]
    [back] = read_request(body(told) + data[length:], str(len(body(told)))).inputs
    assert back.data.ravel().tolist() == items.ravel().tolist()


def test_nested_and_flat_data_are_one():
    asked = read_request(body(one([[1, 2], [3, 4]], shape=[2, 2]), one([1, 2, 3, 4], shape=[2, 2]),
                              one([["a"], ["b"]], "BYTES", [2, 1])), None)
    np.testing.assert_array_equal(asked.inputs[0].data, asked.inputs[1].data)
    assert asked.inputs[2].data.tolist() == [[b"a"], [b"b"]]


def test_what_is_wanted_is_read():
    asked = read_request(body(one([1]), id="7", outputs=[
        {"name": "a", "parameters": {"binary_data": True}}, {"name": "b"}]), None)
    assert asked.id == "7" and [(w.name, w.binary) for w in asked.outputs] == [
        ("a", True), ("b", False)]
    assert read_request(body(one([1]), parameters={"binary_data_output": True}), None).binary


@pytest.mark.parametrize(("request_", "header", "message"), [
    (b"{", None, "not JSON"),
    (b"[]", None, "expected a JSON object"),
    (b"{}", "9", "Inference-Header-Content-Length"),
    (b"{}", "-1", "Inference-Header-Content-Length"),
    (b"{}", "1e1", "Inference-Header-Content-Length"),
    (b"{}x", "2", "1 bytes follow"),
    (body(more=1), None, "Unknown field"),
    (body(1), None, "a list of objects"),
    (body(one([1], "INT3")), None, "expected BYTES, BOOL"),
    (body(one([1], ["INT8"])), None, "expected BYTES, BOOL"),
    (body(one([1], shape=[2])), None, "has 1 values"),
    (body(one([1], shape=[-1])), None, "up to 8 sizes"),
    (body(one([1], shape=[1] * 9)), None, "up to 8 sizes"),
    (body(one([1], shape=[10**18])), None, "wants 1000"),
    (body(one([1], shape=[10**30])), None, "up to 8 sizes"),
    (body(one([1], shape=[10**3000] * 8)), None, "wants more"),
    (body(one([], shape=[2**63, 0])), None, "no array has"),
    (body(one([], shape=[2**62, 2**62, 0])), None, "no array has"),
    (body(one([[1], 2])), None, "ragged"),
    (body(one([1.5])), None, "other values"),
    (body(one(["a"], "FP32")), None, "other values"),
    (body(one([None], "FP32")), None, "other values"),
    (body(one([300], "UINT8")), None, "beyond it"),
    (body(one([10**30], "INT64")), None, "other values"),
    (body(one([1], "BYTES")), None, "expected strings"),
    (body({"name": 1}), None, "expected a string"),
    (body({"name": "\ud800"}), None, "half of a pair"),
    (body(outputs=[{"name": "\ud800"}]), None, "half of a pair"),
    (body({"name": "x", "datatype": "INT8", "shape": [1]}),
     None, "expected a list"),
    (body(one([1], parameters=[1])), None, "expected an object"),
    (body(one([1], parameters={"binary_data_size": -1})), None, "a number of bytes"),
    (body(one([1], parameters={"binary_data_size": 4})), None, "only 0 are there"),
    (body(one([1], parameters={"binary_data_size": True})), None, "a number of bytes"),
    (body(one([1]), id=3), None, "id is 3"),
])
def test_what_is_no_request_is_refused(request_, header, message):
    with pytest.raises(RequestError) as caught:
        read_request(request_, header)
    assert message in str(caught.value)


@pytest.mark.parametrize(("datatype", "data", "message"), [
    ("INT32", b"\0\0\0", "not a multiple"),
    ("BYTES", b"\1\0", "within the length"),
    ("BYTES", b"\5\0\0\0hi", "within an element"),
])
def test_bytes_that_do_not_add_up_are_refused(datatype, data, message):
    head = body({"name": "x", "datatype": datatype, "shape": [1],
                 "parameters": {"binary_data_size": len(data)}})
    with pytest.raises(RequestError, match=message):
        read_request(head + data, str(len(head)))


def test_depth_costs_no_recursion():
    deep = "[" * 900 + '"a"' + "]" * 900
    request = ('{"inputs": [{"name": "x", "datatype": "%s", "shape": [1], "data": %s}]}')
    [tensor] = read_request((request % ("BYTES", deep)).encode(), None).inputs
    assert tensor.data.tolist() == [b"a"]
    with pytest.raises(RequestError):
        read_request((request % ("FP32", deep)).encode(), None)
