"""The visible text of an HTML page by the standard library's parser: tags off, blocks apart.

It keeps navigation and footers: telling an article from its surroundings is not attempted here.
Reads a page, returns its text; elements that browsers do not show are left out.
"""

import re
from html.parser import HTMLParser

HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "math", "iframe", "object",
                    "select", "head"})
VERBATIM = frozenset({"pre", "textarea"})
BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5",
    "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "summary", "table",
    "tbody", "tfoot", "thead", "title", "tr", "ul"})
CELLS = frozenset({"td", "th"})


def html_text(page: str) -> str:
    """Return the text a reader of the page sees, blocks on lines of their own.

    Raises:
        ValueError: the parser gives up on the markup.
    """
    parser = VisibleText()
    try:
        parser.feed(page)
        parser.close()
    except AssertionError as err:      # the parser's answer to some broken declarations
        raise ValueError(f"broken markup: {err}") from err
    lines = "".join(parser.pieces).split("\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n")


class VisibleText(HTMLParser):
    """Collects text as the parser meets it; `pieces` joined is the page's text."""

    def __init__(self) -> None:
        """Start with an empty page."""
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.hidden: list[str] = []         # hidden elements that are open
        self.verbatim = 0                   # depth of elements that keep their white space

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Break the line before a block; stop collecting inside hidden elements."""
        if tag == "body":
            self.hidden.clear()             # pages forget to close <head>
        if tag in HIDDEN:
            self.hidden.append(tag)
        self.verbatim += tag in VERBATIM
        self._separate(tag)

    def handle_endtag(self, tag: str) -> None:
        """Break the line after a block; collect again after a hidden element."""
        if tag in self.hidden:
            del self.hidden[self.hidden.index(tag):]
        self.verbatim = max(0, self.verbatim - (tag in VERBATIM))
        self._separate(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """<br/> breaks the line; other empty elements show nothing."""
        self._separate(tag)

    def handle_data(self, data: str) -> None:
        """Keep visible text, with the white space a browser would show."""
        if self.hidden:
            return
        if not self.verbatim:
            data = re.sub(r"[ \t\r\n\f]+", " ", data)
            if not self.pieces or self.pieces[-1].endswith(("\n", " ", "\t")):
                data = data.lstrip(" ")
        if data:
            self.pieces.append(data)

    def _separate(self, tag: str) -> None:
        if not self.hidden and tag in CELLS | BLOCKS:
            mark = "\t" if tag in CELLS else "\n"
            if self.pieces and not self.pieces[-1].endswith(("\n", mark)) or tag == "br":
                self.pieces.append(mark)
