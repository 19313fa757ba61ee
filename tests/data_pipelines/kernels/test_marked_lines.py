"""Lines of minimal HTML: text, marks, links."""

import pytest
from resiliparse.extract.html2text import extract_plain_text

from data_pipelines.kernels.marked_lines import Line, read_lines


@pytest.mark.parametrize("body, lines", [
    ("", []), ("\n \n<p></p>\n", []), ("plain", [Line("plain")]),
    ("<h2>Title</h2>", [Line("Title", heading=True)]),
    ("<p>a &lt;p&gt; &amp; b</p>", [Line("a <p> & b", paragraph=True)]),
    ("<p>one<br>\ntwo</p>\nthree", [Line("one", True), Line("two", True), Line("three")]),
    ("  <li>first</li>\n</ol>", [Line("• first", item=True)]),
    ('see <a href="u">this</a> <a href="a>b">&amp;</a>', [Line("see this &", linked=9)]),
    ('<a href="u">never closed\nnext', [Line("never closed", linked=12), Line("next")]),
    ("<pre>  code\n    more\n</pre>", [Line("  code"), Line("    more")]),
    ("1 < 2 <b", [Line("1 < 2 <b")]), ('<a href="' + '"' * 2001, [Line('<a href="' + '"' * 2001)])])
def test_a_line_has_its_text_and_marks(body, lines):
    assert read_lines(body) == lines


def test_what_resiliparse_writes_reads_as_its_plain_text():
    page = ("<main><h1>T</h1><p>One <a href='x>y'>two</a> &lt;three&gt;.<br>Four</p><ul><li>item"
            "<ul><li>nested</li></ul></li></ul><div>five</div><p>six</p></main>")
    marked, plain = (extract_plain_text(page, preserve_formatting=kind, links=kind != True)  # noqa: E712
                     for kind in ("minimal_html", True))
    words = [line.text.replace("•", "").split() for line in read_lines(marked)]
    assert words == [line.replace("•", "").split() for line in plain.split("\n") if line.strip()]
    assert [line.paragraph for line in read_lines(marked)] == [
        False, True, True, False, False, False, True]
