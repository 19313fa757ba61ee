"""Copied spans are cut, documents of nothing else go; spans are those of a suffix array."""

import random

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines import span_rounds
from data_pipelines.steps.repeated_spans import make
from ssljax.core.errors import ConfigError


def brute(texts, length):
    """Mark every byte of a span that began before; a span is that of whole windows."""
    seen, result = set(), []
    for text in texts:
        marked = [False] * len(text)
        for i in range(len(text) - length + 1):
            if (window := text[i:i + length]) in seen:
                marked[i:i + length] = [True] * length
            seen.add(window)
        result.append(marked)
    return result


def suffix_array(texts, length):
    """Mark them as Lee et al. 2021 find them: by neighbours in a suffix array."""
    pydivsufsort = pytest.importorskip("pydivsufsort")
    data = np.frombuffer(bytearray(b"\xff".join([*texts, b""])), np.uint8)
    order = pydivsufsort.divsufsort(data)
    same = np.asarray(pydivsufsort.kasai(data, order))[:-1] >= length
    marked, first = np.zeros(len(data), bool), 0
    for i in range(len(order)):
        if i == len(order) - 1 or not same[i]:
            begins = np.sort(order[first:i + 1])
            for begin in begins[1:]:
                if b"\xff" not in data[begin:begin + length].tobytes():
                    marked[begin:begin + length] = True
            first = i + 1
    ends = np.cumsum([len(t) + 1 for t in texts])
    return [marked[e - len(t) - 1:e - 1].tolist() for t, e in zip(texts, ends, strict=True)]


def marks(table, texts, length, partitions=1):
    """Return what the step's rounds mark in texts whose order is that of preference."""
    spans = []
    made = table([t.decode("latin-1") for t in texts])
    made = made.append_column("q", pa.array([-float(i) for i in range(len(texts))]))
    step = make(length=length, quality="q")
    step._replace(apply=lambda t, found: spans.append(found) or t)(made, partitions=partitions)
    marked = [[False] * len(t) for t in texts]
    for row, start, stop in zip(*(spans[0][n].to_pylist() for n in ("row", "start", "stop")),
                                strict=True):
        marked[row][start:stop] = [True] * (stop - start)
    return marked


@pytest.mark.parametrize("letters", [b"ab", b"abcdefgh"])
@pytest.mark.parametrize("seed", range(4))
def test_spans_are_those_of_all_windows(table, seed, letters):
    draw = random.Random(seed)
    parts = [bytes(draw.choices(letters, k=draw.randrange(4, 30))) for _ in range(6)]
    texts = [b"".join(draw.choices(parts, k=draw.randrange(0, 5))) for _ in range(12)]
    expected = brute(texts, 12)
    assert suffix_array(texts, 12) == expected and any(map(any, expected))
    for partitions in (1, 7):
        assert marks(table, texts, 12, partitions) == expected


@pytest.mark.parametrize("chunk", [1, 200])
def test_a_frequent_passage_is_judged_in_parts(table, monkeypatch, chunk):
    texts = [bytes([97 + i]) * 9 + b"the same passage for everyone here " * 2 for i in range(20)]
    expected = brute(texts, 40)
    monkeypatch.setattr(span_rounds, "CHUNK", chunk)
    monkeypatch.setattr(span_rounds, "STEP", 300)
    assert marks(table, texts, 40) == expected


def test_texts_that_share_a_hash_are_told_apart(table, monkeypatch):
    real = span_rounds.window_hashes
    monkeypatch.setattr(span_rounds, "window_hashes", lambda *a: real(*a) % np.uint64(3))
    texts = [b"some words that are long enough", b"other words some words that are long enough",
             b"-" * 60, b"and other words some words that are", b"-" * 33]
    assert marks(table, texts, 12) == brute(texts, 12)


def test_characters_stay_whole_and_nothing_spans_two_documents(table):
    texts = ["xé" + "ä東" * 40 + "é", "ä東" * 39]
    assert make(length=50)(table(texts))["text"][0].as_py().startswith("xé")
    end, start = "x" * 30 + "END OF ONE", "START OF TWO" + "y" * 30
    made = table(["a" + end, start + "1", "b" + end, start + "2"])
    assert make(length=60)(made).equals(made)


def test_a_copied_passage_is_cut_from_the_shorter(table, prose):
    passage = prose(1, 60)
    rows = make()(table({"a": prose(2, 200) + passage, "b": "é " + prose(3, 60) + passage}))
    rows = {r["source"]: r for r in rows.to_pylist()}
    assert rows["a"]["text"] == prose(2, 200) + passage
    assert rows["b"]["text"].startswith("é ") and passage[20:] not in rows["b"]["text"]
    assert prose(3, 60)[:300] in rows["b"]["text"] and not rows["b"]["dropped"]


def test_a_document_of_copies_is_dropped_as_it_was(table, prose):
    rows = make()(table([prose(1, 300), prose(1, 300)[200:900]])).to_pylist()
    assert rows[1]["dropped"] == "repeated_spans" and rows[1]["detail"] == "1.000"
    assert rows[1]["text"] == prose(1, 300)[200:900]


def test_the_order_of_rows_does_not_matter(table, prose):
    before = table([prose(i % 4, 60) + prose(i, 60) for i in range(12)])
    expected = make()(before).to_pylist()
    order = np.random.default_rng(0).permutation(12)
    turned = make()(before.take(pa.array(order))).to_pylist()
    assert [turned[i] for i in np.argsort(order)] == expected


def test_an_empty_table_and_settings(table):
    assert make()(table([])).num_rows == 0
    with pytest.raises(ConfigError, match="repeated_spans"):
        make(length=2)
