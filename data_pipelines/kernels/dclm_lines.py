"""DCLM's cleaning of lines after Gopher's filters: headings, counters, buttons.

RefinedWeb's rules (Penedo et al. 2023, https://arxiv.org/abs/2306.01116) with the constants of
DCLM-Baseline (Li et al. 2024, https://arxiv.org/abs/2406.11794). Reads a text and a function that
counts words, returns what is left or the reason to drop the page.
"""

import re
from collections.abc import Callable

from data_pipelines.kernels.c4 import Cleaned

UPPER, NUMERIC = 0.5, 0.999999          # share of a line's characters, above which it goes
MIN_WORDS, BUTTON_WORDS = 2, 10         # words of a line; of one that may be a button
REMOVED = 0.05                          # share of a page's words, above which it goes
COUNTER = re.compile(
    r"\W*\d[,.\d]*[kmb]?\s+(?:likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes"
    r"|downvotes|downloads|views|followers)\W*")
# As DCLM writes them: the dots of "Read more..." stand for any character.
BUTTONS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
    r"\s?items in cart", r"\s?read more...$", r"^sign-in\s?"))


def clean(text: str, count: Callable[[str], int]) -> Cleaned:
    """Return what is left of a page.

    Args:
        text: of the page.
        count: text -> number of its words.
    """
    lines = [line for line in text.split("\n") if not condemned(line)]
    left = [line for line in map(press, lines) if line is not None]
    cleaned = "\n".join(left).strip()
    if not cleaned:
        return Cleaned(text, ("empty", "0"))
    if cleaned == text:
        return Cleaned(text, None)
    before = count(text)
    removed = (before - count(cleaned)) / max(1, before)
    if removed > REMOVED:
        return Cleaned(text, ("words_removed", f"{removed:.4g} > {REMOVED:g}"))
    return Cleaned(cleaned, None)


def condemned(line: str) -> bool:
    """Return whether a line is mostly capitals, digits alone, a counter or a single word."""
    if not line:
        return False                    # a blank line parts paragraphs
    if sum(map(str.isupper, line)) / len(line) > UPPER:
        return True
    if sum(map(str.isdigit, line)) / len(line) > NUMERIC:
        return True
    return bool(COUNTER.fullmatch(line.lower())) or len(line.split(None, MIN_WORDS)) < MIN_WORDS


def press(line: str) -> str | None:
    """Return a line without the words of buttons; None where nothing else stood there."""
    if not line or len(line.split(None, BUTTON_WORDS + 1)) > BUTTON_WORDS:
        return line
    for button in BUTTONS:
        line = button.sub("", line)
        if not line or line.isspace():
            return None
    return line
