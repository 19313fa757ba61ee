"""Shingles and signatures against sets of words in plain Python."""

import re

import numpy as np
import pytest

from data_pipelines import shingles


def words(text):
    return re.findall(r"\w+", text.lower())


def runs(text, n=5):
    w = words(text)
    return {tuple(w[i:i + n]) for i in range(max(1, len(w) - n + 1))} if w else set()


@pytest.mark.parametrize("seeds", [(1, 2), (3, 3)])
def test_shingles_are_the_distinct_runs_of_words(prose, seeds):
    a, b = (prose(s, 300) for s in seeds)
    a += b[: len(b) // 2]
    both = shingles.shingle([a, b], 5)
    assert both.counts().tolist() == [len(runs(a)), len(runs(b))]
    assert len(np.intersect1d(both.of(0), both.of(1))) == len(runs(a) & runs(b))


def test_case_punctuation_and_layout_do_not_matter():
    a, b = "One, two: (three) four\nfive SIX", "one TWO three -- “four” five…six"
    made = shingles.shingle([a, b], 5)
    assert made.of(0).tolist() == made.of(1).tolist() and made.counts().tolist() == [2, 2]


def test_order_and_accents_matter():
    made = shingles.shingle(["a b c d e", "b a c d e", "a b c d é"], 5)
    assert len(set(made.hashes.tolist())) == 3


def test_chinese_is_split_by_character():
    made = shingles.shingle(["東京は夜の七時", "東京は夜の八時"], 5)
    assert made.counts().tolist() == [3, 3]
    assert len(np.intersect1d(made.of(0), made.of(1))) == 1


@pytest.mark.parametrize("text, count", [("", 0), ("...", 0), ("one", 1), ("a b c d e", 1),
                                         ("a b c d e f", 2)])
def test_short_texts(text, count):
    assert shingles.shingle([text], 5).counts().tolist() == [count]


def test_a_long_text_is_read_in_pieces_without_losing_a_word(monkeypatch, prose):
    text = prose(9, 3000)
    whole = shingles.shingle([text], 5)
    monkeypatch.setattr(shingles, "PIECE", 100)
    assert len(list(shingles.word_hashes(text))) > 20
    assert shingles.shingle([text], 5).hashes.tolist() == whole.hashes.tolist()


@pytest.mark.parametrize("between, count", [(" ", 96), ("-", 96), ("", 1)])
def test_one_line_longer_than_a_piece_is_whole(monkeypatch, between, count):
    text = between.join(f"w{i}" for i in range(100))
    monkeypatch.setattr(shingles, "PIECE", 16)
    assert shingles.shingle([text], 5).counts().tolist() == [count]


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8])
def test_signatures_estimate_jaccard_without_bias(similarity):
    draw = np.random.default_rng(0)
    total, pairs, permutations = 400, 60, 128
    common = int(total * similarity)
    sets = []
    for _ in range(pairs):
        union = draw.integers(0, 2**64, total, np.uint64)
        cut = (total - common) // 2
        sets += [np.sort(union[:common + cut]), np.sort(np.append(union[:common],
                                                                  union[common + cut:]))]
    made = shingles.signatures(shingles.Shingles(
        np.concatenate(sets), np.cumsum([0, *map(len, sets)])), permutations)
    estimates = (made[::2] == made[1::2]).mean(axis=1)
    deviation = (similarity * (1 - similarity) / permutations) ** 0.5
    assert abs(estimates.mean() - similarity) < 4 * deviation / pairs**0.5
    assert 0.6 * deviation < estimates.std() < 1.5 * deviation


def test_signatures_are_the_minima_of_the_stated_functions(monkeypatch, prose):
    made = shingles.shingle([prose(1), prose(2), ""], 5)
    whole = shingles.signatures(made, 16)
    monkeypatch.setattr(shingles, "ROWS", 7)
    assert (shingles.signatures(made, 16) == whole).all()
    assert (whole[2] == 2**32 - 1).all()
    assert (shingles.signatures(made, 8) == whole[:, :8]).all()
