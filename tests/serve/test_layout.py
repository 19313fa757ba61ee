"""Sizes follow from each other, chunks from the prompt alone, steps from who waits."""

import pytest

from ssljax.core.errors import ServeError
from ssljax.serve.layout import bucket_of, make_layout, pages_of, powers, spans, steps_of

SMALL = make_layout(4, 100, page=8, chunk=32)


def test_sizes_of_a_layout():
    assert SMALL.table == 13 and SMALL.pages == 26         # half of four full rows
    assert SMALL.buckets == (32,) and SMALL.rows == (4,)
    assert make_layout(1, 1024).pages == 16                # one whole context at least
    assert make_layout(6, 100, adaptive=True).rows == (1, 2, 4, 6)
    assert make_layout(4, 100, page=8, chunk=8).buckets == (8,)
    assert make_layout(4, 100, page=8, cache_tokens=105).pages == 14
    assert powers(48) == (32, 48) and powers(16) == (16,) and powers(128) == (32, 64, 128)


@pytest.mark.parametrize(("sizes", "message"), [
    ({"chunk": 24}, "power of two"), ({"page": 16, "chunk": 8}, "multiple of page"),
    ({"cache_tokens": 50}, "at least 104"), ({"steps": 0}, "at least 1"),
])
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(ServeError, match=message):
        make_layout(4, 100, **{"page": 8, "chunk": 32, **sizes})


def test_chunks_begin_at_multiples_whatever_is_known_already():
    assert spans(70, 32) == [(0, 32), (32, 64), (64, 70)]
    assert spans(70, 32, start=1) == spans(70, 32)[1:]
    assert spans(64, 32) == [(0, 32), (32, 64)] and spans(1, 32) == [(0, 1)]


def test_rows_and_pages_that_are_needed():
    assert [pages_of(n, SMALL) for n in (1, 8, 9, 100, 500)] == [1, 1, 2, 13, 13]
    assert [bucket_of(n, make_layout(6, 9, adaptive=True)) for n in (1, 2, 3, 5)] == [1, 2, 4, 6]


def test_steps_grow_while_it_is_calm_and_no_slot_stays_idle_while_someone_waits():
    def steps(last, *, reading=False, waiting=False, left=(100, 3)):
        return steps_of(last, SMALL, reading=reading, waiting=waiting, left=left)

    assert [steps(last) for last in (1, 2, 4, 8)] == [2, 4, 8, 8]
    assert steps(8, reading=True) == 1
    assert steps(8, waiting=True) == 3
    assert steps(8, left=(5, 2)) == 5
