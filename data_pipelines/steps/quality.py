"""Drop documents that no rule of thumb would call text or code; the first failing rule names it.

Rules of Gopher (Rae et al. 2021, https://arxiv.org/abs/2112.11446), of StarCoder for code
(Li et al. 2023, https://arxiv.org/abs/2305.06161) and of Whisper for repetition (Radford et al.
2022, https://arxiv.org/abs/2212.04356), over white-space words and with bounds wide enough for
prose and source code in one corpus. Rules that only prose can pass are left out: Gopher's stop
words and share of "#" (a comment in code), C4's and FineWeb's terminal punctuation, short lines
and curly brackets. Reads and returns the table of documents; `detail` is the value measured.
"""

import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from data_pipelines.table import Step, drop, kept, texts

ROWWISE = True

OTHER, LETTER, DIGIT, SPACE, CONTINUATION = range(5)
# Thai, Lao, Burmese, Khmer, kana, Chinese: scripts that put no space between words.
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
                      "\uf900-\ufaff\U00020000-\U0003ffff]{1,4}")


class Measured(NamedTuple):
    """A document as the rules see it.

    text:  the document
    words: its white-space separated words
    lines: its lines without surrounding space, blank ones left out
    kinds: int64 [5], characters of each kind
    """

    text: str
    words: list[str]
    lines: list[str]
    kinds: np.ndarray


class Rule(NamedTuple):
    """One reason to drop: a document whose `measure` lies outside [low, high]."""

    reason: str
    measure: Callable[[Measured], float]
    low: float = -np.inf
    high: float = np.inf


def make(*, min_words: int = 20, max_characters: int = 2_000_000, min_word_length: float = 2.0,
         max_word_length: float = 20.0, max_long_words: float = 0.2, min_letters: float = 0.4,
         max_digits: float = 0.3, max_bullet_lines: float = 0.9, max_ellipsis_lines: float = 0.3,
         max_duplicate_lines: float = 0.5, min_compressed: float = 0.08) -> Step:
    """Return the step that applies the rules in the order of the arguments.

    Args:
        min_words: fewest words; Gopher's is 50, source files are shorter. "too_short"
        max_characters: longest document; about Gopher's 100,000 words three times. "too_long"
        min_word_length: least mean characters a word; Gopher 3. "short_words"
        max_word_length: most; Gopher 10, code has longer. "long_words"
        max_long_words: share of characters in words over 100: minified code, base64. "unbroken"
        min_letters: share of letters among visible characters; StarCoder 0.25. "few_letters"
        max_digits: share of digits among visible characters: tables. "mostly_digits"
        max_bullet_lines: share of lines starting with a bullet; Gopher. "bullets"
        max_ellipsis_lines: share of lines ending in an ellipsis; Gopher. "ellipses"
        max_duplicate_lines: share of line characters in lines seen before; Gopher 0.2 for
            prose, where code repeats `return None`. "duplicate_lines"
        min_compressed: zlib's size as a share of the text's; Whisper 1 / 2.4 for a sentence,
            and whole documents of one repeated line reach 0.005. "repetitive"
    """
    rules = (Rule("too_short", word_count, low=min_words),
             Rule("too_long", characters, high=max_characters),
             Rule("short_words", mean_word_length, low=min_word_length),
             Rule("long_words", mean_word_length, high=max_word_length),
             Rule("unbroken", long_word_share, high=max_long_words),
             Rule("few_letters", letter_share, low=min_letters),
             Rule("mostly_digits", digit_share, high=max_digits),
             Rule("bullets", bullet_share, high=max_bullet_lines),
             Rule("ellipses", ellipsis_share, high=max_ellipsis_lines),
             Rule("duplicate_lines", duplicate_share, high=max_duplicate_lines),
             Rule("repetitive", compressed_share, low=min_compressed))

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table)
        judged = zip(rows, (judge(t, rules) for t in texts(table, rows)), strict=True)
        return drop(table, {row: verdict for row, verdict in judged if verdict})

    return apply


def judge(text: str, rules: tuple[Rule, ...]) -> tuple[str, str] | None:
    """Return (reason, detail) of the first rule that fails, None where all hold."""
    measured = measure(text)
    for rule in rules:
        value = rule.measure(measured)
        if not rule.low <= value <= rule.high:
            bound = f"< {rule.low:g}" if value < rule.low else f"> {rule.high:g}"
            return rule.reason, f"{value:.4g} {bound}"
    return None


def measure(text: str) -> Measured:
    """Split and count a document once for all rules."""
    lines = [stripped for line in text.split("\n") if (stripped := line.strip())]
    kinds = np.bincount(KIND_OF_BYTE[np.frombuffer(text.encode(), np.uint8)], minlength=5)
    return Measured(text, split_words(text), lines, kinds)


def split_words(text: str) -> list[str]:
    """Split at white space, and scripts that have none into pieces of up to four characters."""
    return (text if text.isascii() else UNSPACED.sub(r" \g<0> ", text)).split()


def byte_kinds() -> np.ndarray:
    """Return the kind of character that each UTF-8 byte begins, uint8 [256].

    Beyond ASCII every character counts as a letter but U+2000 to U+2FFF, punctuation and symbols.
    """
    kinds = np.full(256, OTHER, np.uint8)
    kinds[[*b"\t\n "]] = SPACE
    kinds[ord("0"):ord("9") + 1] = DIGIT
    kinds[[b for b in range(128) if chr(b).isalpha()]] = LETTER
    kinds[0x80:0xC0] = CONTINUATION
    kinds[0xC3:] = LETTER
    kinds[0xE2] = OTHER
    return kinds


KIND_OF_BYTE = byte_kinds()


def word_count(document: Measured) -> float:
    """Return the number of words."""
    return len(document.words)


def characters(document: Measured) -> float:
    """Return the number of characters."""
    return len(document.text)


def visible(document: Measured) -> int:
    """Return the number of characters that are not white space, at least 1."""
    return max(1, int(document.kinds[[OTHER, LETTER, DIGIT]].sum()))


def mean_word_length(document: Measured) -> float:
    """Return the mean number of characters of a word."""
    return visible(document) / max(1, len(document.words))


def long_word_share(document: Measured) -> float:
    """Return the share of visible characters in words longer than 100."""
    return sum(len(w) for w in document.words if len(w) > 100) / visible(document)


def letter_share(document: Measured) -> float:
    """Return the share of letters among visible characters."""
    return document.kinds[LETTER] / visible(document)


def digit_share(document: Measured) -> float:
    """Return the share of digits among visible characters."""
    return document.kinds[DIGIT] / visible(document)


def bullet_share(document: Measured) -> float:
    """Return the share of lines that start with a bullet or a hyphen."""
    return share(document.lines, lambda line: line.startswith(("•", "-")))


def ellipsis_share(document: Measured) -> float:
    """Return the share of lines that end in an ellipsis."""
    return share(document.lines, lambda line: line.endswith(("...", "…")))


def share(lines: list[str], holds: Callable[[str], bool]) -> float:
    """Return the share of lines for which `holds` is true."""
    return sum(map(holds, lines)) / max(1, len(lines))


def duplicate_share(document: Measured) -> float:
    """Return the share of line characters in lines that stood before; the first copy is free."""
    total = sum(map(len, document.lines))
    return 1 - sum(map(len, set(document.lines))) / max(1, total)


def compressed_share(document: Measured) -> float:
    """Return the size after zlib as a share of the size before."""
    data = document.text.encode()
    return len(zlib.compress(data, 1)) / max(1, len(data))
