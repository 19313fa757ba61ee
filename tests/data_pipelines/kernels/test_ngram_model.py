"""The n-gram model against a plain-Python reference; its probabilities are probabilities."""

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.kernels.ngram_model import fit_ngrams, log_probabilities, perplexities
from data_pipelines.kernels.words import find_words

WIKI = Path(__file__).parents[4] / "shared/data/text"
TEXTS = ["a b a b c a b d", "b a c a a b", "c c a d e a b a", "f g a b f a c b", "e"]


def words_of(texts):
    return find_words(pa.array(texts, pa.large_string()))


def reference(texts, order):
    """Return p(word, context) by the equations of Chen and Goodman, with dictionaries."""
    documents = [["<s>"] * (order - 1) + t.split() for t in texts]
    counts = {order: Counter(tuple(d[i - order + 1:i + 1]) for d in documents
                             for i in range(order - 1, len(d)))}
    for n in range(order - 1, 0, -1):
        counts[n] = Counter(gram[1:] for gram in counts[n + 1])
    size = len({w for t in texts for w in t.split()}) + 1
    discounts = {}
    for n, of in counts.items():
        m = [sum(c == i for c in of.values()) for i in range(5)]
        y = m[1] / (m[1] + 2 * m[2])
        d = [i - (i + 1) * y * m[i + 1] / m[i] if m[i] else -1 for i in (1, 2, 3)]
        discounts[n] = [0, *(x if 0 < x <= i else f for i, x, f in
                             zip((1, 2, 3), d, (.5, 1, 1.5)))]
    following = {n: defaultdict(list) for n in counts}
    for n, of in counts.items():
        for gram, c in of.items():
            following[n][gram[:-1]].append(c)

    def probability(word, context):
        n = len(context) + 1
        shorter = probability(word, context[1:]) if context else 1 / size
        after = following[n].get(context)
        if not after:
            return shorter
        c = counts[n][(*context, word)]
        d = discounts[n]
        return (c - d[min(c, 3)] + sum(d[min(a, 3)] for a in after) * shorter) / sum(after)

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_are_those_of_the_equations(order):
    model = fit_ngrams(words_of(TEXTS), order=order, vocabulary=100)
    p = reference(TEXTS, order)
    for text in (*TEXTS, "b d zzz a c", "g f e d"):
        words = ["<s>"] * (order - 1) + text.split()
        expected = [p(words[i], tuple(words[i - order + 1:i]))
                    for i in range(order - 1, len(words))]
        found = np.exp(log_probabilities(words_of([text]), model))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_probabilities_of_all_words_sum_to_one_in_any_context():
    model = fit_ngrams(words_of(TEXTS), order=3, vocabulary=5)        # two words are unknown
    known = [w for w in "abcdefg" if (words_of([w]).hashes[0] == model["vocabulary"]).any()]
    assert len(known) == 5
    for context in ("a b", "c c", "e q", "", "q q"):
        last = [log_probabilities(words_of([f"{context} {w}"]), model)[-1]
                for w in (*known, "never")]
        assert np.exp(last).sum() == pytest.approx(1)


def test_documents_do_not_see_each_other():
    model = fit_ngrams(words_of(TEXTS), order=3, vocabulary=100)
    together = perplexities(words_of([*TEXTS, ""]), model)
    alone = [perplexities(words_of([t]), model)[0] for t in TEXTS]
    np.testing.assert_array_equal(together[:-1], alone)
    assert math.isnan(together[-1])


@pytest.mark.skipif(not WIKI.exists(), reason="needs the shared wiki text")
def test_longer_contexts_help_on_real_text():
    texts = [(WIKI / f"wikitext2_{s}.txt").read_text() for s in ("valid", "test")]
    train, test = words_of(texts[:1]), words_of([texts[1][:200_000]])
    one, two, three = (perplexities(test, fit_ngrams(train, order=n, vocabulary=20_000))[0]
                       for n in (1, 2, 3))
    assert three < two < one
