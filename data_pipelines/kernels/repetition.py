"""Gopher's measures of repetition, as four code bases define them.

Rae et al. 2021, table A1 (https://arxiv.org/abs/2112.11446) leaves open which copies count and what
they are divided by, so each implementation is another filter; `DIALECTS` has those of datatrove
0.10.1, DCLM (https://arxiv.org/abs/2406.11794) and dolma (https://arxiv.org/abs/2402.00159):

              repeated lines, n-grams of 5 to 10     most frequent of 2 to 4      divided by
    datatrove later copies; n-grams left to right    the first seen, with spaces  text
    dclm      all copies; each word once             the longest of those alike   lines; words
    dolma     all copies; each n-gram apart          the first seen               words; n-grams
    fast      as datatrove, over white-space words instead of spaCy's

Reads texts and their words, returns the first rule that each text breaks.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.kernels.lexicon import Words, select, totals
from data_pipelines.kernels.ngrams import Windows, covered, first_best, joined, sequences

Verdict = tuple[str, str] | None        # reason and measured value; None: every rule holds

TOP = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


class Dialect(NamedTuple):
    """How a code base measures.

    segments:  text -> the first rule of lines and paragraphs that it breaks
    top:       windows and n -> int64 [documents], characters of the most frequent window
    duplicate: the same for repeated windows, and what to divide by where it is not the default
    whole:     texts and words -> int64 [documents], what characters are divided by
    """

    segments: Callable[[str], Verdict]
    top: Callable[[Words, Windows, int], np.ndarray]
    duplicate: Callable[[Words, Windows, int, np.ndarray], np.ndarray]
    whole: Callable[[Sequence[str], Words], np.ndarray]


def exceeds(reason: str, value: float, most: float) -> Verdict:
    """Return the verdict on a value that must not be above `most`."""
    return (reason, f"{value:.4g} > {most:g}") if value > most else None


def later_copies(items: Sequence[str]) -> tuple[int, int]:
    """Return how many items stood before, and their characters."""
    if len(set(items)) == len(items):
        return 0, 0
    seen: set[str] = set()
    copies = [item for item in items if item in seen or seen.add(item)]
    return len(copies), sum(map(len, copies))


def split_paragraphs(text: str) -> list[str]:
    r"""Return re.split(r"\n{2,}", text.strip()), three times as fast."""
    if "\n\n" not in text:
        return [text.strip()]
    # The third newline of three begins the next part; a fourth makes an empty one.
    return [p for part in text.strip().split("\n\n") if (p := part.lstrip("\n"))] or [""]


def split_lines(text: str) -> list[str]:
    r"""Return re.split(r"\n+", text), four times as fast."""
    lines = text.split("\n")
    if "\n\n" not in text:
        return lines
    return [*lines[:1], *filter(None, lines[1:-1]), *lines[-1:]]


def datatrove_segments(text: str) -> Verdict:
    """Judge paragraphs, then lines: later copies, of the text."""
    if not text:
        return "empty", "0"
    for name, items in (("para", split_paragraphs(text)), ("line", split_lines(text))):
        count, characters = later_copies(items)
        verdict = (exceeds(f"dup_{name}_frac", count / len(items), 0.3)
                   or exceeds(f"dup_{name}_char_frac", characters / len(text), 0.2))
        if verdict:
            return verdict
    return None


def all_copies(items: Sequence[str]) -> tuple[int, int]:
    """Return how many items occur more than once, and their characters."""
    counts = [(len(item), n) for item, n in Counter(items).items() if n > 1]
    return sum(n for _, n in counts), sum(size * n for size, n in counts)


def dclm_segments(text: str) -> Verdict:
    """Judge lines and paragraphs in turn: all copies, of what is not blank."""
    if not text:
        return "empty", "0"
    shares = {}
    for name, end in (("line", "\n"), ("para", "\n\n")):
        items = [s for part in text.split(end) if (s := part.strip())]
        if not items:
            return "empty", "0"
        count, characters = all_copies(items) if len(items) > 1 else (0, 0)
        shares[name] = count / len(items), characters / sum(map(len, items))
    return (exceeds("dup_line_frac", shares["line"][0], 0.3)
            or exceeds("dup_para_frac", shares["para"][0], 0.3)
            or exceeds("dup_line_char_frac", shares["line"][1], 0.2)
            or exceeds("dup_para_char_frac", shares["para"][1], 0.2))


def dolma_segments(text: str) -> Verdict:
    """Judge lines, blank ones too: all copies, of the characters of words."""
    if not text:
        return "empty", "0"
    lines = text.split("\n")
    count, characters = all_copies(lines)
    return (exceeds("dup_line_frac", count / len(lines), 0.3)
            or exceeds("dup_line_char_frac",
                       characters / max(1, sum(map(len, text.split()))), 0.2))


def seen_first(words: Words, found: Windows, n: int, spaces: int = 0) -> np.ndarray:
    """Return count * characters of each document's most frequent window; of equals the first."""
    top = np.zeros(len(words.starts) - 1, np.int64)
    begins = words.starts[:-1]
    enough = np.diff(words.starts) >= n
    top[enough] = found.sizes[begins[enough]] + spaces      # nothing repeats: the first window
    first, counts = found.at[found.groups], found.counts()
    best = first_best(found.documents[first], -counts, first)
    top[found.documents[first[best]]] = counts[best] * (found.sizes[first[best]] + spaces)
    return top


def longest(words: Words, found: Windows, n: int) -> np.ndarray:
    """Return the same for the longest of equally frequent windows; 0 where nothing repeats."""
    top = np.zeros(len(words.starts) - 1, np.int64)
    first, counts = found.at[found.groups], found.counts()
    best = first_best(found.documents[first], -counts, -found.sizes[first])
    top[found.documents[first[best]]] = counts[best] * found.sizes[first[best]]
    return top


def left_to_right(words: Words, found: Windows, n: int, whole: np.ndarray) -> np.ndarray:
    """Return the share of characters in windows met before, jumping over each that counts.

    Words in any later copy are an upper bound; only documents above the limit by it are walked.
    """
    later = np.ones(len(found.at), bool)
    later[found.groups] = False
    inside = covered(found, found.at[later], n)
    bound = totals(words, np.where(inside, words.lengths, 0)) / whole
    doubtful = bound > DUPLICATE[n]
    group = np.repeat(np.arange(len(found.groups)), found.counts())
    order = np.argsort(found.at)
    order = order[doubtful[found.documents[found.at[order]]]]
    characters = np.zeros(len(whole), np.int64)
    seen: set[int] = set()
    free = 0
    for begin, key in zip(found.at[order].tolist(), group[order].tolist(), strict=True):
        if begin < free:
            continue
        if key in seen:
            characters[found.documents[begin]] += found.sizes[begin]
            free = begin + n
        seen.add(key)
    return np.where(doubtful, characters / whole, 0.0)


def each_word_once(words: Words, found: Windows, n: int, whole: np.ndarray) -> np.ndarray:
    """Return the share of characters in words of any window that occurs more than once."""
    inside = covered(found, found.at, n)
    return totals(words, np.where(inside, words.lengths, 0)) / whole


def each_window(words: Words, found: Windows, n: int, whole: np.ndarray) -> np.ndarray:
    """Return the characters of repeated windows as a share of those of all windows."""
    sizes = np.where(found.inside, found.sizes, 0)
    copies = np.zeros(len(sizes), np.int64)
    copies[found.at] = found.sizes[found.at]
    return totals(words, copies) / np.maximum(1, totals(words, sizes))


def text_length(texts: Sequence[str], words: Words) -> np.ndarray:
    """Return the characters of each text, at least 1."""
    return np.maximum(1, np.fromiter(map(len, texts), np.int64, len(texts)))


def words_length(texts: Sequence[str], words: Words) -> np.ndarray:
    """Return the characters of each text's words, at least 1."""
    return np.maximum(1, totals(words, words.lengths))


def with_spaces(words: Words, found: Windows, n: int) -> np.ndarray:
    """Return `seen_first` of windows written with spaces."""
    return seen_first(words, found, n, spaces=n - 1)


DATATROVE = Dialect(datatrove_segments, with_spaces, left_to_right, text_length)
DIALECTS: Mapping[str, Dialect] = {
    "datatrove": DATATROVE,
    "fast": DATATROVE,
    "dclm": Dialect(dclm_segments, longest, each_word_once, words_length),
    "dolma": Dialect(dolma_segments, seen_first, each_window, words_length),
}


def judge(texts: Sequence[str], words: Words, dialect: Dialect) -> list[Verdict]:
    """Return the first rule of n-grams that each text breaks."""
    verdicts: list[Verdict] = [None] * len(texts)
    whole = dialect.whole(texts, words)
    alive = np.diff(words.starts) >= min(TOP)
    for n, found in enumerate(sequences(words, max(TOP)), min(TOP)):
        shares = dialect.top(words, found, n) / whole
        settle(verdicts, np.arange(len(texts)), f"top_{n}_gram", shares, TOP[n])
    alive &= np.array([v is None for v in verdicts], bool)
    repeats = np.zeros(len(texts), bool)
    repeats[found.documents[found.at]] = True       # none of 4 words: none of more
    kept = np.flatnonzero(alive & repeats)
    words, whole = select(words, alive & repeats), whole[kept]
    for n, most in DUPLICATE.items():
        if not len(kept):
            break
        found = joined(words, n)
        settle(verdicts, kept, f"duplicated_{n}_n_grams",
               dialect.duplicate(words, found, n, whole), most)
        repeats = np.zeros(len(kept), bool)
        repeats[found.documents[found.at]] = True
        words, whole, kept = select(words, repeats), whole[repeats], kept[repeats]
    return verdicts


def settle(verdicts: list[Verdict], rows: np.ndarray, reason: str, shares: np.ndarray,
           most: float) -> None:
    """Write the verdict on every share above `most` where there is none yet."""
    for i in np.flatnonzero(shares > most).tolist():
        row = int(rows[i])
        verdicts[row] = verdicts[row] or exceeds(reason, float(shares[i]), most)
