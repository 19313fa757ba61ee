"""Bodies are read whatever they spell, and refused where reading them would hold others up."""

import base64
import json

import numpy as np
import pytest

from ssljax.core.errors import RequestError
from ssljax.serve.fields import LARGE, MOST_VALUES, read_object

DEEP = b"[" * 900 + b"]" * 900


@pytest.mark.parametrize("body", [
    b'{"a": [1, -0.5, 1e3, true, null, "\\u00e9"]}', b'{"a": "\\ud800"}',
    b'{"a": 123456789012345678901234567890}', b'{"a": 1e400}', '{"a": "é"}'.encode("utf-16"),
    b'{"a": 1, "a": 2}', b'{"a": %b}' % DEEP])
def test_json_is_read_as_python_reads_it(body):
    found, right = read_object(body), json.loads(body)
    assert found == right or float(found["a"]) == float(right["a"])


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b'{"a": -Infinity}', b"\xff", b"[1]",
                                  b"[" * 100_000, b'{"a": 01}', b"{'a': 1}"])
def test_what_is_no_object_of_json_is_refused(body):
    with pytest.raises(RequestError, match="The body is") as caught:
        read_object(body)
    assert caught.value.status == 400


def test_files_and_a_picture_of_numbers_may_be_large():
    file = base64.b64encode(bytes(2 * LARGE)).decode()
    assert read_object(json.dumps({"input": [file] * 4}).encode())["input"] == [file] * 4
    numbers = np.random.default_rng(0).normal(size=224 * 224 * 3).tolist()
    body = json.dumps({"data": numbers}).encode()
    assert len(body) > LARGE and read_object(body)["data"] == numbers


def test_large_bodies_of_many_numbers_are_refused_before_they_are_read():
    small = b'{"a": [%b1]}' % (b"1," * MOST_VALUES)
    assert len(read_object(small)["a"]) == MOST_VALUES + 1        # soon read: it is short
    with pytest.raises(RequestError, match="Send files or pixels as base64") as caught:
        read_object(small + b" " * LARGE)
    assert caught.value.status == 413
