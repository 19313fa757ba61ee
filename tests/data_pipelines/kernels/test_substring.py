"""Repeated spans against brute force over all spans of the length."""

import random

import pytest

pytest.importorskip("pydivsufsort")

from data_pipelines.kernels.substring import repeated_spans  # noqa: E402


def brute(texts, length):
    """Mark every byte of a span that began before; a span is that of whole windows."""
    seen, result = set(), []
    for text in texts:
        marked = [False] * len(text)
        for i in range(len(text) - length + 1):
            window = text[i:i + length]
            if window in seen:
                marked[i:i + length] = [True] * length
            seen.add(window)
        result.append(marked)
    return result


def marks(text, spans):
    marked = [False] * len(text)
    for start, stop in spans.tolist():
        assert 0 <= start < stop <= len(text)
        marked[start:stop] = [True] * (stop - start)
    return marked


@pytest.mark.parametrize("seed", range(8))
def test_spans_are_those_of_all_windows(seed):
    draw = random.Random(seed)
    parts = [bytes(draw.choices(b"ab", k=draw.randrange(4, 30))) for _ in range(6)]
    texts = [b"".join(draw.choices(parts, k=draw.randrange(0, 5))) for _ in range(12)]
    found = repeated_spans(texts, 12)
    assert [marks(t, s) for t, s in zip(texts, found, strict=True)] == brute(texts, 12)


def test_the_first_copy_stays_and_spans_reach_to_their_ends(prose):
    shared = prose(1, 60).encode()
    texts = [b"before " + shared, prose(2).encode() + shared + prose(3).encode()]
    first, second = repeated_spans(texts, 100)
    assert len(first) == 0 and len(second) == 1
    start, stop = second[0]
    assert texts[1][start:stop] == shared


def test_nothing_spans_two_documents():
    end, start = b"x" * 30 + b"END OF ONE", b"START OF TWO" + b"y" * 30
    texts = [b"a" + end, start + b"1", b"b" + end, start + b"2"]
    assert all(len(s) == 0 for s in repeated_spans(texts, 60))


def test_characters_stay_whole():
    texts = ["ä東" * 40, "xé" + "ä東" * 40 + "é"]
    for text, spans in zip(texts, repeated_spans([t.encode() for t in texts], 50), strict=True):
        for start, stop in spans.tolist():
            text.encode()[start:stop].decode()
            (text.encode()[:start] + text.encode()[stop:]).decode()


@pytest.mark.parametrize("texts", [[], [b""], [b"short", b"short"]])
def test_nothing_to_find(texts):
    assert [s.shape for s in repeated_spans(texts, 100)] == [(0, 2)] * len(texts)
