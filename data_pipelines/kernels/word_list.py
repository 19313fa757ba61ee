r"""Words of a list in a text, as C4 looks for bad ones.

The pattern is that of tensorflow_datasets/text/c4_utils.py as datatrove 0.10.1 has it,
`(?:\W|^)(one|another)(?:\W|$)` on the text in lower case; for Japanese, Thai and Chinese the words
stand anywhere. An alternation of 400 words takes 10 ms a page, so words of letters alone are looked
up among those of the text, and only phrases are searched for. Reads a text, returns what was found.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

WORD = re.compile(r"\w+")


class WordList(NamedTuple):
    """A list, compiled.

    words:   those that are one run of letters, digits and underscores
    phrases: the others, with the pattern that finds each
    """

    words: frozenset[str]
    phrases: tuple[tuple[str, re.Pattern[str]], ...]


def compile_list(entries: Iterable[str], *, anywhere: bool = False) -> WordList:
    """Return the list of entries; `anywhere`: also inside other words."""
    lowered = sorted({entry for line in entries if (entry := line.strip().lower())})
    words = frozenset() if anywhere else frozenset(e for e in lowered if WORD.fullmatch(e))
    border = "" if anywhere else r"\W"
    before, after = (f"(?:{border}|^)", f"(?:{border}|$)") if border else ("", "")
    return WordList(words, tuple((e, re.compile(before + re.escape(e) + after)) for e in lowered
                                 if e not in words))


def find(text: str, listed: WordList) -> tuple[dict[str, int], int]:
    """Return entry -> times found, by the alphabet, and the number of the text's words."""
    lowered = text.lower()
    runs = WORD.findall(lowered)
    found = dict.fromkeys(listed.words.intersection(runs), 0)
    for run in runs:
        if run in found:
            found[run] += 1
    for phrase, pattern in listed.phrases:
        # A search for the bare letters is a hundred times as fast and mostly says no.
        if phrase in lowered and (count := len(pattern.findall(lowered))):
            found[phrase] = count
    return dict(sorted(found.items())), len(runs)
