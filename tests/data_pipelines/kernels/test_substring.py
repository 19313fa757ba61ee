"""Windows, their minimizers and unions against brute force."""

import random

import numpy as np
import pytest

from data_pipelines.kernels import substring


def texts_of(seed, letters=b"ab", parts=6, count=12):
    draw = random.Random(seed)
    parts = [bytes(draw.choices(letters, k=draw.randrange(4, 30))) for _ in range(parts)]
    return [b"".join(draw.choices(parts, k=draw.randrange(0, 5))) for _ in range(count)]


@pytest.mark.parametrize("step", [1, 7, 1 << 18])
@pytest.mark.parametrize("seed", range(4))
def test_every_window_has_one_anchor_and_equal_windows_the_same(monkeypatch, seed, step):
    monkeypatch.setattr(substring, "STEP", step)
    texts, length = texts_of(seed), 12
    data, ends = b"".join(texts), np.cumsum([len(t) for t in texts])
    key_of, at, runs = {}, [], []
    for found in substring.find_anchors(np.frombuffer(data, np.uint8), ends, length):
        for key, start, count, several in zip(*(f.tolist() for f in found), strict=True):
            at += range(start, start + count)
            windows = [data[i:i + length] for i in range(start, start + count)]
            assert all(key_of.setdefault(w, key) == key for w in windows)
            assert several or len(set(windows)) == len(windows)
            runs.append(several)
    starts = np.append(0, ends[:-1])
    assert at == [i for s, e in zip(starts, ends, strict=True) for i in range(s, e - length + 1)]
    assert step == 1 or not all(runs)


def test_an_anchor_stands_for_forty_windows_of_prose_and_one_for_a_rule():
    data = np.random.default_rng(0).integers(97, 123, 100_000).astype(np.uint8)
    found = [*substring.find_anchors(data, np.array([len(data)]), 100)]
    assert 35 < 100_000 / sum(len(f.keys) for f in found) < 55
    assert not any(f.several.any() for f in found)
    rule, = substring.find_anchors(np.full(5000, 45, np.uint8), np.array([5000]), 100)
    assert rule.counts.tolist() == [4901] and rule.several.all()


def test_the_first_of_equal_windows_stays():
    gone, first = substring.later(np.array([5, 3, 5, 5, 3, 9], np.uint64))
    assert gone.tolist() == [2, 3, 4] and first.tolist() == [0, 0, 1]


def test_unions_are_those_of_marked_bytes():
    draw = np.random.default_rng(1)
    for _ in range(50):
        starts = draw.integers(0, 60, draw.integers(0, 9))
        spans = np.stack([starts, starts + draw.integers(1, 12, len(starts))], axis=1)
        marked = np.zeros(80, bool)
        for start, stop in spans:
            marked[start:stop] = True
        found = substring.union(spans.reshape(-1, 2))
        again = np.zeros(80, bool)
        for start, stop in found:
            again[start:stop] = True
        assert (again == marked).all() and (found[1:, 0] > found[:-1, 1]).all()


def test_parts_of_characters_are_left():
    data = np.frombuffer("aä東b".encode(), np.uint8)
    spans = np.array([[0, 2], [2, 5], [3, 7], [1, 6]])
    assert substring.whole_characters(data, spans).tolist() == [[0, 1], [3, 3], [3, 7], [1, 6]]
