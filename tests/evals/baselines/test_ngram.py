"""The n-gram models against dictionaries that follow the paper line by line."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from ssljax.core.errors import ConfigError, DataError
from ssljax.evals.baselines import ngram

SHAKESPEARE = Path(__file__).parents[4] / "shared/data/text/tinyshakespeare.txt"
TRAIN = [b"the cat sat on the mat", b"the dog sat on the log", b"", b"a cat and a dog",
         bytes(range(250, 256)), b"t", b"the end"]
HELD_OUT = [b"the cat and the dog sat", b"", b"zebra \x00\xff", b"t"]


def reference_discounts(counts: list[int]) -> tuple[float, float, float]:
    n = [None] + [counts.count(k) for k in (1, 2, 3, 4)]
    if 0 in n:
        return 0.5, 1.0, 1.5
    y = n[1] / (n[1] + 2 * n[2])
    d = tuple(k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3))
    return d if all(0 < x < k for k, x in zip((1, 2, 3), d, strict=True)) else (0.5, 1.0, 1.5)


def symbol_grams(document: bytes, order: int) -> list[tuple[int, ...]]:
    symbols = [256] * (order - 1) + list(document) + [256]
    return [tuple(symbols[i:i + order]) for i in range(len(document) + 1)]


def witten_bell_nats(train: list[bytes], held_out: list[bytes], order: int) -> list[float]:
    """Interpolated Witten-Bell with dictionaries, one symbol at a time."""
    counts = {n: Counter(g[order - n:] for d in train for g in symbol_grams(d, order))
              for n in range(1, order + 1)}

    def prob(gram: tuple[int, ...]) -> float:
        if not gram:
            return 1 / 257
        seen = [c for g, c in counts[len(gram)].items() if g[:-1] == gram[:-1]]
        kinds = len(seen)
        if not kinds:
            return prob(gram[1:])
        return (counts[len(gram)][gram] + kinds * prob(gram[1:])) / (sum(seen) + kinds)

    return [sum(-np.log(prob(g)) for g in symbol_grams(d, order)) for d in held_out]


def kneser_ney_nats(train: list[bytes], held_out: list[bytes], order: int) -> list[float]:
    """Interpolated modified Kneser-Ney with dictionaries, one symbol at a time."""
    def grams(document: bytes) -> list[tuple[int, ...]]:
        return symbol_grams(document, order)

    counts = {order: Counter(g for document in train for g in grams(document))}
    for n in range(order - 1, 0, -1):
        before = defaultdict(set)
        for g in counts[n + 1]:
            before[g[1:]].add(g[0])
        counts[n] = Counter({g: len(s) for g, s in before.items()})
        for g in counts[n]:
            if n > 1 and g[0] == 256:
                counts[n][g] = counts[n + 1][(256, *g)]

    off = {n: reference_discounts(list(c.values())) for n, c in counts.items()}

    def prob(gram: tuple[int, ...]) -> float:
        n = len(gram)
        if n == 0:
            return 1 / 257
        lower = prob(gram[1:]) if n > 1 else 1 / 257
        seen = {g: c for g, c in counts[n].items() if g[:-1] == gram[:-1]}
        total = sum(seen.values())
        if not total:
            return lower
        left = sum(off[n][min(c, 3) - 1] for c in seen.values())
        count = seen.get(gram, 0)
        kept = count - off[n][min(count, 3) - 1] if count else 0.0
        return (kept + left * lower) / total

    return [sum(-np.log(prob(g)) for g in grams(document)) for document in held_out]


REFERENCES = {"witten_bell": witten_bell_nats, "kneser_ney": kneser_ney_nats}
every_smoothing = pytest.mark.parametrize("smoothing", REFERENCES)


@every_smoothing
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_equals_the_dictionary_reference(order, smoothing):
    got = ngram.document_nats(TRAIN, HELD_OUT, order=order, smoothing=smoothing)
    expected = REFERENCES[smoothing](TRAIN, HELD_OUT, order)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_equals_the_reference_where_discounts_are_estimated():
    rng = np.random.default_rng(0)
    train = [bytes(rng.choice(list(b"aaaabbbccd e"), 60).tolist()) for _ in range(30)]
    grams = np.concatenate(list(ngram.windows(train, order=3)))
    assert ngram.discounts(np.unique(grams, return_counts=True)[1]) != ngram.FALLBACK
    held_out = [b"abc", b"dde a b"]
    np.testing.assert_allclose(
        ngram.document_nats(train, held_out, order=3, smoothing="kneser_ney"),
        kneser_ney_nats(train, held_out, 3), rtol=1e-12)


@every_smoothing
@pytest.mark.parametrize("context", [b"", b"t", b"sat", b" the ", b"never seen"])
def test_probabilities_of_all_symbols_sum_to_one(context, smoothing):
    levels = ngram.fit(TRAIN, order=5, smoothing=smoothing)
    history = ([256] * 4 + list(context))[-4:]
    keys = np.array([sum(s << 9 * (4 - i) for i, s in enumerate([*history, symbol]))
                     for symbol in range(257)], np.uint64)
    assert np.exp(ngram.log_probs(levels, keys)).sum() == pytest.approx(1, abs=1e-12)


def test_counting_in_chunks_changes_nothing(monkeypatch):
    whole = ngram.document_nats(TRAIN, HELD_OUT)
    monkeypatch.setattr(ngram, "CHUNK", 7)
    np.testing.assert_allclose(ngram.document_nats(TRAIN, HELD_OUT), whole, rtol=1e-12)


def test_context_starts_fresh_with_each_document():
    alone = ngram.document_nats(TRAIN, [b"the cat"])
    after = ngram.document_nats(TRAIN, [b"a dog", b"the cat"])
    assert after[1] == pytest.approx(alone[0], rel=1e-12)


@pytest.mark.parametrize("smoothing, known", [("witten_bell", 1.669), ("kneser_ney", 1.562)])
def test_more_context_helps_on_real_text_and_reaches_the_known_figure(smoothing, known):
    if not SHAKESPEARE.exists():
        pytest.skip(f"{SHAKESPEARE} is absent: the shared data folder is not beside the project")
    text = SHAKESPEARE.read_bytes()
    cut = len(text) * 9 // 10
    totals = [ngram.document_nats([text[:cut]], [text[cut:]], order=n, smoothing=smoothing).sum()
              for n in (1, 2, 3, 4, 5)]
    nats = [total / (len(text) - cut) for total in totals]
    assert nats == sorted(nats, reverse=True)
    assert nats[-1] == pytest.approx(known, abs=0.002)


def test_bad_input_is_named():
    with pytest.raises(DataError, match="no training document"):
        ngram.document_nats([], HELD_OUT)
    with pytest.raises(ConfigError, match="order 8"):
        ngram.fit(TRAIN, order=8, smoothing="witten_bell")
    assert ngram.document_nats(TRAIN, []).shape == (0,)
