"""What becomes of a request's rows: answers in order, and who is to blame where there are none."""

import asyncio
import contextlib
from typing import NamedTuple

import pytest

from ssljax.core.errors import RequestError
from ssljax.serve.batching import Batching
from ssljax.serve.encoding import run_parts


class Row(NamedTuple):
    """A row of a toy encoder, which says what it was given."""

    content: str
    bucket: str = "all"


@pytest.fixture
def encode():
    """Return encode(contents, share): the answers of an encoder of 4 places that breaks on "x"."""
    def run(bucket, rows):
        if any(row.content == "x" for row in rows):
            raise ValueError("x")
        return [row.content for row in rows]

    def encode(contents, share=1.0):
        batching = Batching(run, rows=lambda bucket: 1, wait=0.0, limit=4, share=share)
        with contextlib.closing(batching):
            return asyncio.run(run_parts(batching, list(map(Row, contents)), caller="me",
                                         patience=9.0))

    return encode


def test_answers_come_in_the_order_of_the_rows(encode):
    assert encode("abcd") == list("abcd")


def test_a_device_that_fails_asks_nobody_to_come_again(encode):
    with pytest.raises(RequestError, match="device failed") as caught:
        encode("ax")
    assert (caught.value.status, caught.value.retry_after) == (500, None)


@pytest.mark.parametrize("share, most", [(1.0, 4), (0.5, 2)])
def test_rows_that_never_fit_are_too_many(encode, share, most):
    assert encode("a" * most, share)
    with pytest.raises(RequestError, match=f"at most {most} in one request") as caught:
        encode("a" * (most + 1), share)
    assert caught.value.status == 413
