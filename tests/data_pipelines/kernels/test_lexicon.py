"""Words measured once, in batches, against Python's own strings."""

import numpy as np
import pytest

from data_pipelines.kernels import byte_words
from data_pipelines.kernels.lexicon import (
    ALPHABETIC,
    STOP_WORDS,
    SYMBOL_FREE,
    Lexicon,
    measure,
    select,
    totals,
)
from data_pipelines.kernels.punctuation import PUNCTUATION

TEXTS = ["The cat and the hat, 12 + 3 …", "", "  ünïcode\u00a0naïve\n\n--- 「」 ***  ",
         "to be\td\ud800d", " "]  # noqa: E501


def test_facts_are_those_of_the_strings():
    words = Lexicon().read(TEXTS)
    flat = [w for text in TEXTS for w in text.split()]
    assert np.diff(words.starts).tolist() == [len(t.split()) for t in TEXTS]
    assert words.lengths.tolist() == [len(w) for w in flat]
    assert (words.kinds & ALPHABETIC > 0).tolist() == [any(map(str.isalpha, w)) for w in flat]
    assert (words.kinds & SYMBOL_FREE > 0).tolist() == [not set(w) <= PUNCTUATION for w in flat]
    assert [s.bit_count() for s in words.stops.tolist()] == [int(w in STOP_WORDS) for w in flat]


def test_hash_of_joined_words_follows_from_those_of_the_words():
    facts = measure(["web", "scale", "webscale"])
    (a, power_a, _), (b, power_b, _), (ab, power_ab, _) = facts.tolist()
    assert (a * power_b + b) % 2**64 == ab
    assert power_a * power_b % 2**64 == power_ab


def test_batches_and_a_full_cache_change_nothing():
    texts = [f"word{i} word{i % 7} the" for i in range(200)]
    whole, small = Lexicon().read(texts), Lexicon(full=10)
    parts = [small.read(texts[i:i + 9]) for i in range(0, 200, 9)]
    assert (np.concatenate([p.hashes for p in parts]) == whole.hashes).all()


def test_a_split_gives_chunks_several_words_or_none():
    lexicon = Lexicon(split=lambda chunks: [list(c.strip("-")) for c in chunks])
    words = lexicon.read(["ab --- c", "---", "c ab"])
    assert np.diff(words.starts).tolist() == [3, 0, 3]
    assert words.hashes[:3].tolist() == words.hashes[[4, 5, 3]].tolist()


def test_select_keeps_whole_documents():
    words = Lexicon().read(["a bb", "ccc", "", "dddd e"])
    chosen = select(words, np.array([True, False, True, True]))
    assert chosen.lengths.tolist() == [1, 2, 4, 1]
    assert totals(chosen, chosen.lengths).tolist() == [3, 0, 5]


@pytest.mark.parametrize("texts", [TEXTS[:2], ["the  naïve\tÜber of\n", "", "…"], ["", ""]])
def test_bytes_give_the_lengths_and_stop_words_of_strings(texts):
    words, strings = byte_words.read(texts), Lexicon().read(texts)
    assert (words.starts == strings.starts).all()
    assert (words.lengths == strings.lengths).all()
    assert (words.stops == strings.stops).all()


def test_bytes_tell_words_apart_as_strings_do():
    text = " ".join(f"w{i % 50} {'x' * (i % 9)}é" for i in range(400))
    pairs = set(zip(byte_words.read([text]).hashes.tolist(), text.split(), strict=True))
    assert len(pairs) == len(set(text.split()))


def test_words_longer_than_the_table_of_powers_do_no_harm():
    long = "a" * (3 * byte_words.LONGEST + 5)
    assert byte_words.read([f"{long} the {long}"]).lengths.tolist() == [len(long), 3, len(long)]
