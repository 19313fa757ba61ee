"""Which lines of a page's text belong to its article: a logistic model over features of lines.

Boilerpipe (Kohlschütter et al. 2010, https://doi.org/10.1145/1718487.1718542) showed that length,
links and neighbours tell most of it; which lines are paragraphs is worth .01 of F1 more. Reads the
lines that an extractor found, with their marks; returns a probability a line.
`tools/bench/curate_extract.py --fit` fits WEIGHTS on every other page of its benchmark; the other
pages are what its report calls held out.
"""

import re
from collections.abc import Sequence

import numpy as np

from data_pipelines.kernels.marked_lines import Line

ENDS = tuple(".!?…。！？\"”’»)':*;」।")
BULLETS = ("•", "-", "*")
LONG = 150                # characters beyond which a line is no label: the words are not looked for
FAR = 10                  # lines; more distance than this says nothing more
# Words of labels, teasers and buttons around articles. English, as on most of the pages measured;
# in other languages the remaining features decide. In lower case and at the start of words: half
# the time of a search anywhere without case.
LABELS = re.compile(
    r"\b(?:related|read (?:more|next|also)|more (?:in|from|on|stories)|also like|you might|"
    r"recommend|comment|reply|share|subscribe|sign (?:up|in)|newsletter|advert|see also|trending|"
    r"popular|most read|latest|tags?:|filed under|follow (?:us|me|@)|about the author|copyright|"
    r"rights reserved|photo|image|getty|published|updated|posted|cookie|e-?mail|click|"
    r"facebook|twitter|whatsapp|privacy|loading|print)|©|^\W*by ")

# One for the constant, then one a column of `features`.
WEIGHTS = np.array([
    -2.6231,  0.2474,  0.8661, -1.0383,  1.4079, -2.0783, -0.7895,  0.3448, -0.819 , -0.4418,
    1.2937,  0.7583, -0.0645,  0.0522,  1.3711,  2.3668,  0.2643,  0.2342, -0.1871, -0.9114,
    0.9671,  0.3529, -1.5709, -2.1149, -0.2411,  1.2999,  0.8823, -2.5901,  0.2854, -4.7572,
    1.0924,  0.051 , -3.8312,  2.4555, -2.6352])


def article_probability(lines: Sequence[Line]) -> np.ndarray:
    """Return the probability that each line is article text, float64 [lines]."""
    if not lines:
        return np.zeros(0)
    return 1 / (1 + np.exp(-(WEIGHTS[0] + features(lines) @ WEIGHTS[1:])))


def features(lines: Sequence[Line]) -> np.ndarray:
    """Return what the model sees of each line, float64 [lines, 34]."""
    width, ends, bullet, label, indent, capitals = line_columns([line.text for line in lines])
    prose = ((width >= 60) & ends) | (width >= 180)
    size = np.minimum(np.log2(1 + width), 9)
    weight = width * prose
    total = weight.sum() + 1
    until = np.cumsum(weight)
    before, after = (until - weight) / total, (total - 1 - until) / total
    back, ahead = distances(prose)
    alone = ~prose
    density = around(prose, 3) / np.minimum(len(lines), 7)
    group = np.cumsum((back >= 4) & prose)          # prose that four other lines set apart
    share = (np.bincount(group, weight) / total)[group]
    labels = np.minimum(np.cumsum(label), 5)
    return np.stack([
        size, ends, prose, bullet, label, indent, capitals, before, after, before * alone,
        after * alone, back, ahead, (back >= 4) & (ahead >= 4), density,
        np.concatenate([[0], size[:-1]]), np.concatenate([size[1:], [0]]), labels, share,
        share * prose, np.minimum(back, ahead), (before < 1e-3) * alone, (after < 1e-3) * alone,
        *mark_columns(lines, weight / total)], axis=1).astype(np.float64)


def mark_columns(lines: Sequence[Line], weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return what the markup says of each line and of those around it, 11 columns.

    Args:
        lines: of a page.
        weight: the share of the page's prose in each line, 0 where a line is none.
    """
    table = np.array([(p, h, i, linked, len(text), 1) for text, p, h, i, linked in lines],
                     np.float64)
    paragraph, heading, item, linked, width, _ = table.T
    share = linked / width
    link = share > 0.8
    paragraphs, links, widths, count = around(table[:, [0, 3, 4, 5]], 2).T
    marked = (weight * paragraph).sum()         # of the prose: pages without paragraphs exist
    return (paragraph, heading, item, share, link, links / widths, paragraphs / count,
            paragraph * marked, (1 - paragraph) * marked, link * (1 - paragraph), link * paragraph)


def around(values: np.ndarray, reach: int) -> np.ndarray:
    """Return the sum of the values at most `reach` places away along the first axis."""
    places = np.arange(len(values))
    sums = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=sums[1:])
    return sums[np.minimum(places + reach + 1, len(values))] - sums[np.maximum(places - reach, 0)]


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
        label = short and LABELS.search(bare.lower()) is not None
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
