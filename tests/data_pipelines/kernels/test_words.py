"""Words of whole batches against a regular expression over one text at a time."""

import re

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.kernels import words

PATTERN = re.compile(r"[\u3000-\U0010ffff]|[0-9a-z_\u00c0-\u1fff]+")
MIXED = ["One, two: (three) “four”…five_5 SIX", "", "東京は夜のABC七時 def", "ÉCOLE naïve ŁÓDŹ",
         "...", "x", "emoji😀in🙂between", "Ünïcödé­soft hyphen", "Ελληνικά και кириллица"]


def expected(text):
    return PATTERN.findall(text.lower())


def counts(found):
    return np.diff(found.starts).tolist()


@pytest.mark.parametrize("piece", [7, 16, 1 << 16])
def test_words_are_those_of_the_rule(monkeypatch, piece):
    monkeypatch.setattr(words, "PIECE", piece)
    texts = MIXED * 3
    found = words.find_words(pa.array(texts))
    if piece > 7:
        assert counts(found) == [len(expected(t)) for t in texts]
    same = {}
    names = [w for t in texts for w in expected(t)]
    if piece > 16:
        for name, value in zip(names, found.hashes.tolist(), strict=True):
            assert same.setdefault(name, value) == value
        assert len(set(same.values())) == len(same)


def test_documents_side_by_side_do_not_join():
    found = words.find_words(pa.array(["ab", "cd", "", "abcd"]))
    assert counts(found) == [1, 1, 0, 1] and len(set(found.hashes.tolist())) == 3


def test_positions_are_bytes_of_the_lower_cased_batch():
    found = words.find_words(pa.array(["É ab", "c"]))
    assert found.positions.tolist() == [0, 3, 5]


def test_a_slice_and_a_null_are_read_as_they_are():
    texts = pa.array(["skipped words", "kept", None, "also kept"]).slice(1)
    assert counts(words.find_words(texts)) == [1, 0, 2]
    assert counts(words.find_words(pa.array([], pa.string()))) == []


@pytest.mark.parametrize("between, count", [(" ", 4000), ("-", 4000), ("東", 7999)])
def test_a_long_text_in_pieces_loses_no_word(monkeypatch, between, count):
    text = between.join(f"w{i}" for i in range(4000))
    whole = words.find_words(pa.array([text]))
    monkeypatch.setattr(words, "PIECE", 100)
    again = words.find_words(pa.array([text]))
    assert len(again.hashes) == count and (again.hashes == whole.hashes).all()


def test_where_an_endless_word_is_cut_does_not_depend_on_the_neighbours(monkeypatch):
    monkeypatch.setattr(words, "PIECE", 64)
    endless = "x" * 1000
    alone = words.find_words(pa.array([endless])).hashes
    beside = words.find_words(pa.array(["before it", endless, "after it"])).hashes
    assert (beside[2:-2] == alone).all() and 1 < len(alone) < 20


def test_random_texts_agree_with_the_rule():
    draw = np.random.default_rng(0)
    alphabet = list("abcXYZ019_ .,-\n\t") + list("éßÑ—’東ン😀ก\u00ad\u2003")
    texts = ["".join(draw.choice(alphabet, draw.integers(0, 60))) for _ in range(300)]
    assert counts(words.find_words(pa.array(texts))) == [len(expected(t)) for t in texts]
