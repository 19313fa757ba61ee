"""The lines of a page's text with what its markup says of them: paragraph, heading, item, links.

resiliparse writes the text of a page as "minimal HTML": text and attributes escaped, tags of
paragraphs, headings, lists, line breaks and links only
(https://resiliparse.chatnoir.eu/en/latest/man/extract/html2text.html). Reads that, returns a Line
for each line with a character to see.
"""

import html
import re
from typing import NamedTuple

TAG = re.compile(r'<(/?)(\w+)(?:\s(?:"[^"]*"|[^">])*)?>')
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
BULLET = "• "


class Line(NamedTuple):
    """A line of text.

    text:      without tags and entities, space on its left kept; items begin with a bullet
    paragraph: whether some of it is in a paragraph
    heading:   whether it is a heading
    item:      whether an item of a list begins there
    linked:    characters inside links
    """

    text: str
    paragraph: bool = False
    heading: bool = False
    item: bool = False
    linked: int = 0


def read_lines(body: str) -> list[Line]:
    """Return the lines of minimal HTML that are not blank."""
    found = []
    paragraph = False                       # whether one is open, over line breaks too
    for raw in body.split("\n"):
        text, names, inside, linked = raw, (), paragraph, 0
        if "<" in raw:
            parts = TAG.split(raw)          # text, "/" or "", name, text, ...
            text, names = parts[0], parts[2::3]
            link = False                    # links end with their line: some are never closed
            for close, name, piece in zip(parts[1::3], names, parts[3::3], strict=True):
                if name == "a":
                    link = not close
                elif name == "p":
                    paragraph = not close
                inside |= paragraph
                text += piece
                linked += len(piece) * link
        if not text or text.isspace():
            continue
        if "&" in text:
            text = html.unescape(text)
        item = "li" in names
        found.append(Line(f"{BULLET}{text.strip()}" if item else text.rstrip(), inside,
                          not HEADINGS.isdisjoint(names), item, linked))
    return found
