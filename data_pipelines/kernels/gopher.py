"""Gopher's rules of quality, as four code bases define them.

Rae et al. 2021, section A1.1 (https://arxiv.org/abs/2112.11446): number and length of words,
symbols, bullets, ellipses, words with a letter, stop words. The bounds are the same everywhere;
what a word, its length or a bullet is, is not:

              words                 length   symbols        bullets    stop words
    datatrove spaCy's               mean     a kind apart   • -        different ones, as written
    dclm      Unicode's; white      mean     together       ● • * -    any, without case
    dolma     white space           median   words with one * -        any, as written
    fast      as datatrove, over white-space words

Reads texts and their words, returns the first rule that each text breaks.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.kernels.lexicon import ALPHABETIC, SYMBOL_FREE, Words, totals
from data_pipelines.kernels.repetition import Verdict, exceeds

SHORT, LONG = 50, 100_000               # words of a document
LEAST, MOST = 3, 10                     # characters of a word
SYMBOLS, BULLETS, ELLIPSES, ALPHA, STOPS = 0.1, 0.9, 0.3, 0.8, 2


class Counted(NamedTuple):
    """What the rules ask of a document's words.

    count:   words; those that are more than punctuation where the dialect says so
    length:  mean or median characters of these
    total:   what shares are divided by
    alpha:   share of words with a letter
    stops:   stop words, different ones or all as the dialect counts
    """

    count: int
    length: float
    total: int
    alpha: float
    stops: int


class Dialect(NamedTuple):
    """How a code base measures.

    count:   words of a batch -> a Counted for each document
    symbols: text and words -> shares of symbols by reason
    lines:   text -> its lines
    bullets: what a line may start with
    ends:    what a line may end with
    """

    count: Callable[[Words, Words], list[Counted]]
    symbols: Callable[[str, int], Mapping[str, float]]
    lines: Callable[[str], list[str]]
    bullets: tuple[str, ...]
    ends: tuple[str, ...]


def below(reason: str, value: float, least: float) -> Verdict:
    """Return the verdict on a value that must not be below `least`."""
    return (reason, f"{value:.4g} < {least:g}") if value < least else None


def count_distinct(words: Words, counted: Words) -> list[Counted]:
    """Count words that are more than punctuation, their mean length, and different stop words."""
    real = (words.kinds & SYMBOL_FREE) > 0
    count, total = totals(words, real), np.diff(words.starts)
    lengths = totals(words, np.where(real, words.lengths, 0)) / np.maximum(1, count)
    alpha = totals(words, (words.kinds & ALPHABETIC) > 0) / np.maximum(1, total)
    present = np.zeros(len(total), np.uint8)
    filled = total > 0
    present[filled] = np.bitwise_or.reduceat(words.stops, words.starts[:-1][filled]) if (
        filled.any()) else 0
    return list(map(Counted, count.tolist(), lengths.tolist(), total.tolist(), alpha.tolist(),
                    [p.bit_count() for p in present.tolist()]))


def count_all(words: Words, counted: Words) -> list[Counted]:
    """Count the words of `counted`; the rest over all white-space words."""
    count, total = np.diff(counted.starts), np.diff(words.starts)
    length = totals(words, words.lengths) / np.maximum(1, total)
    return list(map(Counted, count.tolist(), length.tolist(), total.tolist(),
                    alpha_shares(words), totals(words, words.stops > 0).tolist()))


def count_median(words: Words, counted: Words) -> list[Counted]:
    """Count white-space words and their median length."""
    total = np.diff(words.starts)
    # A document without words has no median; it fails the rule before.
    medians = [float(np.median(words.lengths[a:b])) if b > a else 0.0
               for a, b in zip(words.starts[:-1].tolist(), words.starts[1:].tolist(), strict=True)]
    return list(map(Counted, total.tolist(), medians, total.tolist(), alpha_shares(words),
                    totals(words, words.stops > 0).tolist()))


def alpha_shares(words: Words) -> list[float]:
    """Return the share of words with a letter in each document."""
    letters = totals(words, (words.kinds & ALPHABETIC) > 0)
    return (letters / np.maximum(1, np.diff(words.starts))).tolist()


def symbols_apart(text: str, total: int) -> dict[str, float]:
    """Return hashes and ellipses, each a word."""
    return {"gopher_too_many_hashes": text.count("#") / total,
            "gopher_too_many_ellipsis": (text.count("...") + text.count("…")) / total}


def symbols_together(text: str, total: int) -> dict[str, float]:
    """Return hashes and ellipses a word."""
    count = sum(text.count(symbol) for symbol in ("#", "...", ". . .", "…"))
    return {"gopher_too_many_symbols": count / total}


def symbol_words(text: str, total: int) -> dict[str, float]:
    """Return the share of words with a hash or an ellipsis."""
    if "#" not in text and "…" not in text:
        return {}
    count = sum("#" in word or "…" in word for word in text.split())
    return {"gopher_too_many_symbols": count / total}


def stripped_lines(text: str) -> list[str]:
    """Return lines as they begin and end to the eye, blank ones too."""
    return [line.strip() for line in text.splitlines()]


def filled_lines(text: str) -> list[str]:
    """Return lines without the blank ones."""
    return [stripped for line in text.split("\n") if (stripped := line.strip())]


def raw_lines(text: str) -> list[str]:
    """Return lines as they are."""
    return text.split("\n")


DATATROVE = Dialect(count_distinct, symbols_apart, stripped_lines, ("•", "-"), ("...", "…"))
DIALECTS: Mapping[str, Dialect] = {
    "datatrove": DATATROVE,
    "fast": DATATROVE,
    "dclm": Dialect(count_all, symbols_together, filled_lines, ("●", "•", "*", "-"),
                    ("...", ". . .", "…")),
    "dolma": Dialect(count_median, symbol_words, raw_lines, ("*", "-"), ("…",)),
}


def judge(texts: Sequence[str], words: Words, dialect: Dialect,
          counted: Words | None = None) -> list[Verdict]:
    """Return the first rule that each text breaks.

    Args:
        texts: of a batch of documents.
        words: their words.
        dialect: one of DIALECTS.
        counted: the words that make a document long enough, where they are others.
    """
    measured = dialect.count(words, words if counted is None else counted)
    return [judge_one(text, m, dialect) for text, m in zip(texts, measured, strict=True)]


def judge_one(text: str, words: Counted, dialect: Dialect) -> Verdict:
    """Return the first rule that a text breaks."""
    verdict = (below("gopher_short_doc", words.count, SHORT)
               or exceeds("gopher_long_doc", words.count, LONG)
               or below("gopher_below_avg_threshold", words.length, LEAST)
               or exceeds("gopher_above_avg_threshold", words.length, MOST))
    if verdict:
        return verdict
    for reason, share in dialect.symbols(text, words.total).items():
        if share > SYMBOLS:
            return exceeds(reason, share, SYMBOLS)
    return (judge_lines(text, dialect)
            or below("gopher_below_alpha_threshold", words.alpha, ALPHA)
            or below("gopher_enough_stop_words", words.stops, STOPS))


def judge_lines(text: str, dialect: Dialect) -> Verdict:
    """Return the first rule of lines that a text breaks; most texts have none of the marks."""
    bullets = any(mark in text for mark in dialect.bullets)
    ellipses = any(mark in text for mark in dialect.ends)
    if not bullets and not ellipses:
        return None
    lines = dialect.lines(text)
    starts = sum(line.startswith(dialect.bullets) for line in lines) if bullets else 0
    ends = sum(line.endswith(dialect.ends) for line in lines) if ellipses else 0
    return (exceeds("gopher_too_many_bullets", starts / max(1, len(lines)), BULLETS)
            or exceeds("gopher_too_many_end_ellipsis", ends / max(1, len(lines)), ELLIPSES))
