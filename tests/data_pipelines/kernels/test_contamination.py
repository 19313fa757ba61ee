"""Items of evaluation sets are found however they are dressed, and nothing else is."""

import random

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.kernels import contamination, planted
from data_pipelines.kernels.contamination import build_index, common_subsequence, find_items
from data_pipelines.kernels.planted import EDITS, plant, planted_recall


def find(items, texts, at_least=0.75, **kwargs):
    hits = find_items(build_index(pa.array(items), **kwargs), pa.array(texts, pa.string()),
                      at_least)
    return list(zip(hits.documents.tolist(), hits.items.tolist(), strict=True)), hits.scores


@pytest.fixture
def items(prose):
    return [" ".join(prose(1000 + i, 30).split()) for i in range(40)]


def slow_subsequence(a, b):
    row = [0] * (len(b) + 1)
    for x in a:
        before, row = row, [0]
        for j, y in enumerate(b):
            row.append(before[j] + 1 if x == y else max(before[j + 1], row[j]))
    return row[-1]


def test_common_subsequence_is_that_of_the_table():
    draw = random.Random(0)
    for _ in range(200):
        a, b = ([draw.randrange(6) for _ in range(draw.randrange(1, 80))] for _ in "ab")
        assert common_subsequence(a, b) == slow_subsequence(a, b)


@pytest.mark.parametrize("edit", EDITS)
def test_planted_items_are_found_and_only_where_they_are(items, prose, edit):
    texts = []
    for i, item in enumerate(items):
        texts += [prose(i, 400), plant(item, prose(i, 400), EDITS[edit],
                                       np.random.default_rng(i))]
    pairs, scores = find(items, texts)
    expected = [(2 * i + 1, i) for i in range(len(items))]
    assert set(pairs) <= set(expected) and len(pairs) >= (36 if edit == "edited" else 40)
    if edit != "edited":
        assert (scores == 1).all()


def test_the_score_is_the_share_of_words_in_order(items):
    words = items[0].split()
    pairs, scores = find(items, [" ".join([*words[:12], "x", "y", "z", *words[15:]])])
    assert pairs == [(0, 0)] and scores[0] == pytest.approx(27 / 30, abs=0.04)
    assert find(items, [" ".join(words[:15])], 0.6)[0] == []
    assert find(items, [" ".join(reversed(words))], 0.6)[0] == []


def test_the_same_words_scattered_over_a_long_document_are_no_leak(items, prose):
    words = items[3].split()
    chunks = [" ".join(words[i:i + 4]) for i in range(0, len(words), 4)]
    scattered = " ".join(chunk + " " + prose(i, 200) for i, chunk in enumerate(chunks))
    assert find(items, [scattered])[0] == []


def test_an_item_twice_in_a_document_is_one_hit(items, prose):
    assert find(items, [items[5] + prose(1, 50) + items[5] + items[6]])[0] == [(0, 5), (0, 6)]


def test_short_items_are_not_searched_for(items):
    short = ["the man lost his balance", *items]
    assert find(short, short)[0] == [(i, i) for i in range(1, 41)]
    assert find(short, short[:1], min_words=5)[0] == [(0, 0)]


def test_a_phrase_of_the_set_is_no_evidence(items):
    template = "what is the most likely effect of this change in the following case"
    many = [f"{template} {item}" for item in items]
    assert len(many) > contamination.COMMON
    assert find(many, [template])[0] == []
    assert find(many, [many[7]])[0] == [(0, 7)]


def test_equal_items_of_two_sets_are_both_found(items):
    assert find([items[0], items[0]], [items[0]])[0] == [(0, 0), (0, 1)]


def test_documents_are_judged_alone(items, prose):
    texts = [plant(items[i], prose(i, 90), planted.edited, np.random.default_rng(i))
             for i in range(30)]
    together = find(items, texts)
    apart = [find(items, [t]) for t in texts]
    assert together[0] == [(d, i) for d, (pairs, _) in enumerate(apart) for _, i in pairs]
    assert together[1].tolist() == [s for _, scores in apart for s in scores]


@pytest.mark.parametrize("texts", [[], [""], ["one two"], [None]])
def test_documents_without_grams(items, texts):
    assert find(items, texts)[0] == []


def test_no_items_find_nothing(prose):
    assert find(pa.array([], pa.string()), [prose(1)])[0] == []
    assert find(["too short"], [prose(1)])[0] == []


def test_recall_counts_by_set_and_edit(items, prose):
    index = build_index(pa.array(items))
    report = planted_recall(index, items, ["even", "odd"] * 20, [prose(i) for i in range(9)],
                            at_least=0.75)
    assert set(report) == set(EDITS) and list(report["edited"]) == ["all", "even", "odd"]
    assert all(report[e][s] == 1 for e in ("verbatim", "recased", "respaced") for s in
               ("all", "even", "odd"))
    strict = planted_recall(index, items, ["a"] * 40, [prose(1)], at_least=1.0)
    assert strict["edited"]["a"] < 0.3 and strict["verbatim"]["a"] == 1
