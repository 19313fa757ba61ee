"""Shingles and signatures against sets of words in plain Python."""

import re

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.kernels import minhash
from data_pipelines.kernels.minhash import Shingles


def words(text):
    return re.findall(r"\w+", text.lower())


def runs(text, n=5):
    w = words(text)
    return {tuple(w[i:i + n]) for i in range(max(1, len(w) - n + 1))} if w else set()


def shingle(texts, n=5):
    return minhash.shingle(pa.array(texts, pa.large_string()), n)


def of_sets(sets):
    return Shingles(np.concatenate([np.empty(0, np.uint64), *map(np.sort, sets)]),
                    np.append(0, np.cumsum([len(s) for s in sets])).astype(np.int64))


@pytest.mark.parametrize("seeds", [(1, 2), (3, 3)])
def test_shingles_are_the_distinct_runs_of_words(prose, seeds):
    a, b = (prose(s, 300) for s in seeds)
    a += b[: len(b) // 2]
    both = shingle([a, b])
    assert both.counts().tolist() == [len(runs(a)), len(runs(b))]
    assert len(np.intersect1d(both.of(0), both.of(1))) == len(runs(a) & runs(b))
    assert all((np.diff(both.of(d).astype(object)) > 0).all() for d in (0, 1))


def test_case_punctuation_and_layout_do_not_matter():
    made = shingle(["One, two: (three) four\nfive SIX", "one TWO three -- “four” five…six"])
    assert made.of(0).tolist() == made.of(1).tolist() and made.counts().tolist() == [2, 2]


def test_order_and_accents_matter():
    assert len(set(shingle(["a b c d e", "b a c d e", "a b c d é"]).hashes.tolist())) == 3


def test_chinese_is_split_by_character():
    made = shingle(["東京は夜の七時", "東京は夜の八時"])
    assert made.counts().tolist() == [3, 3]
    assert len(np.intersect1d(made.of(0), made.of(1))) == 1


@pytest.mark.parametrize("text, count", [("", 0), ("...", 0), ("one", 1), ("a b c d e", 1),
                                         ("a b c d e f", 2)])
def test_short_texts(text, count):
    beside = shingle(["before all of this it stood", text, "", text])
    assert beside.counts()[1:].tolist() == [count, 0, count]
    assert beside.of(1).tolist() == beside.of(3).tolist() == shingle([text]).hashes.tolist()


def test_a_short_text_is_the_run_that_its_length_asks_for():
    assert shingle(["a b c"], 5).hashes.tolist() == shingle(["a b c"], 3).hashes.tolist()


def test_shingles_do_not_depend_on_the_batch(prose):
    texts = [prose(i, 30 + i) for i in range(40)]
    whole = shingle(texts)
    assert all(whole.of(i).tolist() == shingle([t]).hashes.tolist() for i, t in enumerate(texts))
    some = whole.take(np.array([7, 3, 3]))
    assert [some.of(i).tolist() for i in range(3)] == [whole.of(i).tolist() for i in (7, 3, 3)]


@pytest.mark.parametrize("total", [1000, 40])
@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8])
def test_signatures_estimate_jaccard_without_bias(similarity, total):
    draw = np.random.default_rng(0)
    pairs, columns = 200, 128
    common, cut = int(total * similarity), int(total * (1 - similarity)) // 2
    sets = []
    for _ in range(pairs):
        union = draw.integers(0, 2**64, total, np.uint64)
        sets += [union[:common + cut], np.append(union[:common], union[common + cut:])]
    made = minhash.signatures(of_sets(sets), columns)
    estimates = (made[::2] == made[1::2]).mean(axis=1)
    # With fewer shingles than columns the columns repeat each other: coarser, as it must be.
    deviation = (similarity * (1 - similarity) / min(columns, total / 2)) ** 0.5
    assert abs(estimates.mean() - similarity) < 4 * deviation / pairs**0.5
    assert estimates.std() < 1.5 * deviation


def test_a_column_is_the_least_of_its_bin_or_of_another(prose):
    made = shingle([prose(1, 30), prose(2, 400), ""])
    signature = minhash.signatures(made, 64)
    for document in (0, 1):
        least = {}
        for h in made.of(document).tolist():
            least.setdefault(h >> 58, (h >> 8) & (2**32 - 1))
        for column, value in enumerate(signature[document].tolist()):
            donors = minhash.donor_table(64)[:, column].tolist()
            donor = column if column in least else next(d for d in donors if d in least)
            assert value == least[donor]
    assert (signature[2] == minhash.EMPTY).all()


def test_every_bin_asks_all_bins():
    assert (np.sort(minhash.donor_table(16), axis=0) == np.arange(16)[:, None]).all()
