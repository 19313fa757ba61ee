"""Repetition of four code bases against their definitions in strings."""

import random
import re
from collections import Counter

import numpy as np
import pytest

from data_pipelines.kernels import ngrams, repetition
from data_pipelines.kernels.byte_words import read as read_bytes
from data_pipelines.kernels.lexicon import Lexicon
from data_pipelines.kernels.repetition import DIALECTS, DUPLICATE, TOP


@pytest.fixture(scope="module")
def documents():
    """Return word lists from prose-like to stuttering, short ones and empty ones too."""
    draw = random.Random(0)
    made = [[], ["a"], ["a", "b"], ["x"] * 30]
    for size in (3, 8, 30, 100, 300):
        for kinds in (2, 5, 20, 200):
            words = [f"w{draw.randrange(kinds)}" for _ in range(size)]
            made += [words, words + words[size // 2:], words[:10] * 3 + words]
    return made


def top_datatrove(words, n):
    grams = [" ".join(words[i:i + n]) for i in range(len(words) - n + 1)]
    gram, count = Counter(grams).most_common(1)[0] if grams else ("", 0)
    return len(gram) * count


def duplicate_datatrove(words, n):
    seen, characters, i = set(), 0, 0
    while i < len(words) - n + 1:
        gram = "".join(words[i:i + n])
        if gram in seen:
            characters, i = characters + len(gram), i + n
        else:
            seen.add(gram)
            i += 1
    return characters


def top_dclm(words, n):
    counts = Counter(tuple(words[i:i + n]) for i in range(len(words) - n + 1))
    most = max(counts.values(), default=0)
    longest = max((len("".join(g)) for g in counts if counts[g] == most), default=0)
    return most * longest * (most > 1)


def duplicate_dclm(words, n):
    grams = [tuple(words[i:i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(grams)
    inside = {j for i, g in enumerate(grams) if counts[g] > 1 for j in range(i, i + n)}
    return sum(len(words[j]) for j in inside) / max(1, len("".join(words)))


def top_dolma(words, n):
    grams = [tuple(words[i:i + n]) for i in range(len(words) - n + 1)]
    gram, count = Counter(grams).most_common(1)[0] if grams else ((), 0)
    return len("".join(gram)) * count


def duplicate_dolma(words, n):
    counts = Counter(tuple(words[i:i + n]) for i in range(len(words) - n + 1))
    total = sum(c * len("".join(g)) for g, c in counts.items())
    return sum(c * len("".join(g)) for g, c in counts.items() if c > 1) / max(1, total)


@pytest.mark.parametrize(("dialect", "reference"), [
    ("datatrove", top_datatrove), ("dclm", top_dclm), ("dolma", top_dolma)])
def test_most_frequent_ngram_is_that_of_the_code_base(documents, dialect, reference):
    words = Lexicon().read([" ".join(d) for d in documents])
    for n, found in enumerate(ngrams.sequences(words, max(TOP)), min(TOP)):
        measured = DIALECTS[dialect].top(words, found, n)
        assert measured.tolist() == [reference(d, n) for d in documents]


@pytest.mark.parametrize("read", [Lexicon().read, read_bytes])
@pytest.mark.parametrize(("dialect", "reference"), [
    ("datatrove", duplicate_datatrove), ("dclm", duplicate_dclm), ("dolma", duplicate_dolma)])
def test_repeated_ngrams_are_those_of_the_code_base(documents, dialect, reference, read):
    texts = [" ".join(d) for d in documents]
    words = read(texts)
    whole = DIALECTS[dialect].whole(texts, words)
    for n, most in DUPLICATE.items():
        measured = DIALECTS[dialect].duplicate(words, ngrams.joined(words, n), n, whole)
        expected = np.array([reference(d, n) for d in documents])
        expected = expected / whole if dialect == "datatrove" else expected
        # datatrove's is walked only where it can be above the bound.
        walked = measured > 0 if dialect == "datatrove" else np.ones(len(texts), bool)
        assert measured[walked] == pytest.approx(expected[walked])
        assert ((measured > most) == (expected > most)).all()


def test_equal_letters_of_different_words_are_one_joined_ngram():
    texts = ["ab c d e f q r s t u v w a bc d e f"]
    words = Lexicon().read(texts)
    assert ngrams.joined(words, 5).at.tolist() == [0, 12]
    assert sorted(next(ngrams.sequences(words, 2)).at) == [2, 3, 14, 15]


def test_verdicts_do_not_depend_on_the_neighbours(documents):
    texts = [" ".join(d) for d in documents]
    for dialect in DIALECTS.values():
        together = repetition.judge(texts, Lexicon().read(texts), dialect)
        alone = [repetition.judge([t], Lexicon().read([t]), dialect)[0] for t in texts]
        assert together == alone


def test_repeated_keys_are_found_whatever_slot_they_share():
    keys = np.random.default_rng(0).integers(0, 500, 2000).astype(np.uint64)
    at, groups = ngrams.repeated(keys)
    counts = Counter(keys.tolist())
    assert len(at) == sum(c for c in counts.values() if c > 1)
    for members in np.split(at, groups[1:]):
        assert len(set(keys[members].tolist())) == 1 and (np.diff(members) > 0).all()


@pytest.mark.parametrize("text", [
    "a\n\n\nb\n\n\n\n\nc", "\n\na\nb\n\n", "\n\n\n", "a\nb", " \n\n x ", "one", "a \n\n\n\n b"])
def test_lines_and_paragraphs_split_as_the_expressions_of_datatrove(text):
    assert repetition.split_paragraphs(text) == re.split(r"\n{2,}", text.strip())
    assert repetition.split_lines(text) == re.split("\n+", text)


@pytest.mark.parametrize(("dialect", "text", "reason"), [
    ("datatrove", "", "empty"),
    ("datatrove", "a\n\nb\n\na\n\nb\n\na\n\na", "dup_para_frac"),
    ("datatrove", "long line here\nlong line here\nx\ny", "dup_line_char_frac"),
    ("datatrove", "a\nb\na\nb", "dup_line_frac"),
    ("dclm", "same line\nb\nc\nd\nsame line\ne\nf\ng", "dup_line_char_frac"),
    ("dclm", " \n ", "empty"),
    ("dolma", "a\n\nb\n\nc", "dup_line_frac"),          # its blank lines repeat
    ("dclm", "a\n\nb\n\nc", None)])
def test_rules_of_lines_name_the_drop(dialect, text, reason):
    verdict = DIALECTS[dialect].segments(text)
    assert (verdict and verdict[0]) == reason
