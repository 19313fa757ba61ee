"""The unigram model is the counts plus one half, normalised."""

import math

import numpy as np
import pytest

from ssljax.evals.baselines import unigram


def test_follows_the_counts():
    log_probs = unigram.fit([b"aab", b""])
    total = 3 + 2 + 257 / 2
    assert log_probs[ord("a")] == pytest.approx(math.log(2.5 / total))
    assert log_probs[256] == pytest.approx(math.log(2.5 / total))
    assert np.exp(log_probs).sum() == pytest.approx(1)


def test_document_pays_for_each_byte_and_its_end():
    nats = unigram.document_nats([b"aab"], [b"ab", b""])
    log_probs = unigram.fit([b"aab"])
    a, b, end = (log_probs[s] for s in (ord("a"), ord("b"), 256))
    np.testing.assert_allclose(nats, [-(a + b + end), -end])


def test_without_training_text_every_symbol_costs_log_257():
    assert unigram.document_nats([], [b"any"])[0] == pytest.approx(4 * math.log(257))
