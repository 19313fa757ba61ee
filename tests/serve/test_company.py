"""Larger batches run only where each of their rows has the bits of the declared batch."""

import numpy as np
import pytest

from ssljax.serve.company import MOST, make_split


def answers(differ_from=99):
    """Return a program's call: what a row's answer is may depend on the rows from some size on."""
    calls = []

    def call(bucket, inputs, rows):
        assert len(inputs) <= rows
        calls.append(rows)
        shift = np.float32(1e-7) if rows >= differ_from else np.float32(0)
        return np.stack([each["x"] * 2 + shift for each in inputs])

    return call, calls


def rows_of(count):
    return [{"x": np.full(3, i, np.float32)} for i in range(count)]


@pytest.mark.parametrize("declared", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 19])
def test_every_row_is_in_one_batch_that_is_no_larger_than_it_may_be(declared, count):
    call, _ = answers()
    given = rows_of(count)
    found = [row["x"][0] for which, size in make_split(call, lambda bucket: declared)("b", given)
             for row in given[which] if len(given[which]) <= size]
    assert found == list(range(count))


def test_sizes_that_agree_are_used_and_tried_once():
    call, calls = answers()
    split = make_split(call, lambda bucket: 1)
    assert [size for _, size in split("b", rows_of(13))] == [8, 4, 1]
    tried = list(calls)
    assert tried == [8, *[1] * 8, 4, *[1] * 4]
    assert [size for _, size in split("b", rows_of(13))] == [8, 4, 1] and calls == tried
    assert [size for _, size in split("other", rows_of(2))] == [2] and len(calls) > len(tried)


def test_sizes_whose_rows_differ_in_a_bit_are_never_used():
    call, _ = answers(differ_from=4)
    split = make_split(call, lambda bucket: 1)
    assert [size for _, size in split("b", rows_of(5))] == [2, 2, 1]
    call, _ = answers(differ_from=2)
    assert [size for _, size in make_split(call, lambda bucket: 1)("b", rows_of(3))] == [1, 1, 1]


def test_rows_that_are_all_alike_do_not_hide_a_difference():
    def call(bucket, inputs, rows):                        # sums in another order, zeros aside
        return np.stack([each["x"] * np.float32(1 if rows < 8 else 1 + 1e-6) for each in inputs])

    zeros = [{"x": np.zeros(3, np.float32)}] * MOST
    assert [size for _, size in make_split(call, lambda bucket: 1)("b", zeros)] == [4, 4]


def test_a_declared_batch_beyond_the_most_is_left_as_it_is():
    call, calls = answers()
    assert [size for _, size in make_split(call, lambda bucket: 16)("b", rows_of(20))] == [16, 16]
    assert calls == []
