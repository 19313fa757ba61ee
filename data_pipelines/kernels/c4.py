"""C4's cleaning: lines that are no sentences go, pages with too little left or with code go.

Raffel et al. 2020, section 2.2 (https://arxiv.org/abs/1910.10683). Bounds differ: those of its own
code (tensorflow_datasets/text/c4_utils.py) and DCLM are `TFDS`, those of datatrove 0.10.1 are
`DATATROVE`, and FineWeb keeps lines without an end mark (`end_marks=()`).

Reads a text, returns the text that is left or the reason to drop the page.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies",
            "use cookies")
# What ends a sentence where no tokenizer is asked: marks, closing quotes, then space or the end.
SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s|$)")


class Bounds(NamedTuple):
    """The constants of one code base.

    min_words:     fewest white-space words of a line
    min_sentences: fewest sentences of a page
    end_marks:     what a line must end with; empty: anything
    max_word:      characters of the longest word of a line
    after:         whether words are counted after citations are deleted
    """

    min_words: int = 5
    min_sentences: int = 3
    end_marks: tuple[str, ...] = (".", "?", "!", '"')
    max_word: int = 1000
    after: bool = True


TFDS = Bounds()
DATATROVE = Bounds(min_words=3, min_sentences=5, end_marks=(".", "?", "!", '"', "'"), after=False)


class Cleaned(NamedTuple):
    """The text that is left, or why the page goes: a reason and the measured value."""

    text: str
    verdict: tuple[str, str] | None


def clean(text: str, bounds: Bounds, sentences: Callable[[str], int]) -> Cleaned:
    """Return what C4 leaves of a page.

    Args:
        text: of the page.
        bounds: DATATROVE, TFDS or others.
        sentences: line -> its sentences, at least 1; asked only where it can matter.
    """
    # One search of the page spares most pages those of each line. Not where citations are deleted:
    # the words around one may make a phrase that was none before.
    cited, lowered = "[" in text, text.lower()
    lorem = cited or "lorem ipsum" in lowered
    javascript = cited or "javascript" in lowered
    policies = [p for p in POLICIES if cited or p in lowered]
    kept = []
    for raw in text.splitlines():
        line = keep_line(raw.strip(), bounds, cited)
        if line is None:
            continue
        if lorem and "lorem ipsum" in line.lower():
            return Cleaned(text, ("lorem_ipsum", line[:80]))
        if javascript and "javascript" in line.lower():
            continue
        if "{" in line:
            return Cleaned(text, ("curly_bracket", line[:80]))
        if not (policies and holds(line.lower(), policies)):
            kept.append(line)
    if len(kept) < bounds.min_sentences:
        count = sum(map(sentences, kept))
        if count < bounds.min_sentences:
            return Cleaned(text, ("too_few_sentences", f"{count} < {bounds.min_sentences}"))
    return Cleaned("\n".join(kept).strip(), None)


def keep_line(line: str, bounds: Bounds, cited: bool) -> str | None:
    """Return a line without its citations; None where its length or its end condemns it."""
    least = bounds.min_words
    if len(line) > bounds.max_word and max(map(len, line.split())) > bounds.max_word:
        return None
    if not bounds.after and len(line.split(None, least)) < least:
        return None
    if cited:
        line = CITATION.sub("", line)
    if bounds.end_marks and (not line.endswith(bounds.end_marks) or line.endswith("...")):
        return None
    if bounds.after and len(line.split(None, least)) < least:
        return None
    return line


def holds(text: str, phrases: Sequence[str]) -> bool:
    """Return whether any of the phrases stands in the text."""
    return any(phrase in text for phrase in phrases)


def count_marks(line: str) -> int:
    """Return the sentences of a line by its end marks, at least 1."""
    return max(1, len(SENTENCE_END.findall(line)))
