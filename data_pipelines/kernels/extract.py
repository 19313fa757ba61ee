"""The article of an HTML page: a fast extractor, its lines judged, a slow one where in doubt.

resiliparse (https://resiliparse.chatnoir.eu) finds nearly all of an article and too much around
it; `page_lines` takes that off and says how sure it is; trafilatura
(https://trafilatura.readthedocs.io), some ten times slower, reads the pages where it is not.
Reads a decoded page; returns its text, who found it and how doubtful it was. Pages exist that
hang either extractor: pages from strangers go through `data_pipelines.limits`.
"""

from typing import NamedTuple

import numpy as np
import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from data_pipelines.kernels.marked_lines import Line, read_lines
from data_pipelines.kernels.page_lines import article_probability

# Elements that hold no article text: leaving them out is faster and .01 of F1 better.
SKIPPED = ["figcaption", "h1", "time", "aside", "footer", "nav", "button", "select"]
KEEP = 0.5                # least probability of a line; .4 to .55 score alike
# Share of uncertain text beyond which the slow extractor decides. It wins as often as it loses
# on pages between .1 and .3, at six times the cost: what is left are pages next to empty.
DOUBT = 0.3
SHORTEST = 120            # characters; less is a page that the fast extractor may have missed
SLOW_BYTES = 2_000_000    # pages beyond this are not given to the slow extractor


class Extracted(NamedTuple):
    r"""What was found on a page.

    text:   lines joined by "\n"; empty where the page has no article
    method: "fast" or "slow"
    doubt:  expected share of text judged wrongly, from 0; 1 where next to nothing was found
    """

    text: str
    method: str
    doubt: float


def extract(page: str, *, doubt: float = DOUBT) -> Extracted:
    """Return the article of a page.

    Args:
        page: decoded HTML.
        doubt: above this the slow extractor decides; 1 never asks it, -1 always does.
    """
    text, uncertain = fast(page)
    if uncertain > doubt and len(page) <= SLOW_BYTES:
        found = slow(page)
        if found:
            return Extracted(found, "slow", uncertain)
    return Extracted(text, "fast", uncertain)


def fast(page: str) -> tuple[str, float]:
    """Return the text by resiliparse without its doubtful lines, and the doubt."""
    lines = marked(page)
    chances = article_probability(lines)
    sizes = np.array([len(line.text) + 5 for line in lines], np.float64)
    taken = chances >= KEEP
    text = "\n".join(line.text for line, take in zip(lines, taken, strict=True) if take)
    if len(text) < SHORTEST:
        return text, 1.0
    return text, float((sizes * np.minimum(chances, 1 - chances)).sum() / sizes[taken].sum())


def marked(page: str) -> list[Line]:
    """Return the lines that resiliparse takes for the page's main content."""
    return read_lines(extract_plain_text(
        HTMLTree.parse(page), preserve_formatting="minimal_html", main_content=True, links=True,
        alt_texts=False, comments=False, skip_elements=SKIPPED))


def slow(page: str) -> str:
    """Return the text by trafilatura, empty where it finds none."""
    return trafilatura.extract(page, fast=True, include_comments=False) or ""
