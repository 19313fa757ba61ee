"""Which lines of a page's text belong to its article: a logistic model over features of lines.

Boilerpipe (Kohlschütter et al. 2010, https://doi.org/10.1145/1718487.1718542) showed that length
and neighbours tell most of it. Reads the lines that an extractor found; returns a probability a
line. `tools/bench/curate_extract.py --fit` fits WEIGHTS on every other page of the
article-extraction-benchmark; the other pages are what the report calls held out.
"""

import re
from collections.abc import Sequence

import numpy as np

ENDS = tuple(".!?…。！？\"”’»)':*;」।")
BULLETS = ("•", "-", "*")
LONG = 150                # characters beyond which a line is no label: the words are not looked for
FAR = 10                  # lines; more distance than this says nothing more
# Words of labels, teasers and buttons around articles. English, as on most of the pages measured;
# in other languages the remaining features decide.
LABELS = re.compile(
    r"related|read (?:more|next|also)|more (?:in|from|on|stories)|also like|you might|recommend|"
    r"comment|reply|share|subscribe|sign (?:up|in)|newsletter|advert|see also|trending|popular|"
    r"most read|latest|tags?:|filed under|follow (?:us|me|@)|about the author|copyright|©|"
    r"rights reserved|photo|image|getty|published|updated|posted|^\W*by |cookie|e-?mail|click|"
    r"facebook|twitter|whatsapp|privacy|loading|print", re.I)

# One for the constant, then one a column of `features`.
WEIGHTS = np.array([
    -2.3699e+00,  2.1345e-01,  1.8880e+00, -1.0990e+00, -8.6376e-02, -2.0529e+00, -4.5697e-01,
    -4.3587e-01, -1.1111e+00, -1.1693e+00,  1.4812e+00,  6.6909e-01, -8.5197e-02,  1.9218e-03,
     9.5643e-01,  2.2117e+00,  2.5638e-01,  2.1137e-01, -1.8542e-01, -1.5557e+00,  1.5483e+00,
     2.8448e-01, -9.5604e-01, -1.4333e+00])


def article_probability(lines: Sequence[str]) -> np.ndarray:
    """Return the probability that each line is article text, float64 [lines]."""
    if not lines:
        return np.zeros(0)
    return 1 / (1 + np.exp(-(WEIGHTS[0] + features(lines) @ WEIGHTS[1:])))


def features(lines: Sequence[str]) -> np.ndarray:
    """Return what the model sees of each line, float64 [lines, 23]."""
    width, ends, bullet, label, indent, capitals = line_columns(lines)
    prose = ((width >= 60) & ends) | (width >= 180)
    size = np.minimum(np.log2(1 + width), 9)
    weight = width * prose
    total = weight.sum() + 1
    until = np.cumsum(weight)
    before, after = (until - weight) / total, (total - 1 - until) / total
    back, ahead = distances(prose)
    alone = ~prose
    count = len(lines)
    window = np.minimum(count, 7)
    padded = np.concatenate([[0], np.cumsum(np.pad(prose, (3, 3)))])
    density = (padded[7:] - padded[:-7]) / window
    group = np.cumsum((back >= 4) & prose)          # prose that four other lines set apart
    share = (np.bincount(group, weight) / total)[group]
    labels = np.minimum(np.cumsum(label), 5)
    return np.stack([
        size, ends, prose, bullet, label, indent, capitals, before, after, before * alone,
        after * alone, back, ahead, (back >= 4) & (ahead >= 4), density,
        np.concatenate([[0], size[:-1]]), np.concatenate([size[1:], [0]]), labels, share,
        share * prose, np.minimum(back, ahead), (before < 1e-3) * alone, (after < 1e-3) * alone,
    ], axis=1).astype(np.float64)


def line_columns(lines: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Return width, ends, bullet, label, indent and capitals of each line."""
    rows = []
    for line in lines:
        bare = line.strip()
        width = len(bare)
        if not bare.isascii():
            # Characters of scripts that say a word in one or two, which UTF-8 writes in three.
            width += (len(bare.encode("utf-8", "replace")) - width) // 2
        short = width < LONG
        label = short and LABELS.search(bare) is not None
        words = bare.split() if short else ()
        capitals = sum(w[0].isupper() or w[0].isdigit() for w in words) / max(1, len(words))
        rows.append((width, bare.endswith(ENDS), bare.startswith(BULLETS), label,
                     line.startswith(" "), capitals))
    table = np.array(rows, np.float64)
    return (table[:, 0], table[:, 1] > 0, *table[:, 2:].T)


def distances(prose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lines to the prose before and behind each line, at most FAR."""
    index = np.arange(len(prose))
    last = np.maximum.accumulate(np.where(prose, index, -FAR))
    following = np.minimum.accumulate(np.where(prose, index, len(prose) + FAR)[::-1])[::-1]
    back = index - np.concatenate([[-FAR], last[:-1]])
    ahead = np.concatenate([following[1:], [len(prose) + FAR]]) - index
    return np.minimum(back, FAR), np.minimum(ahead, FAR)
