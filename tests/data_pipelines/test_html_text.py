"""HTML to text: what a reader sees, in order, blocks apart."""

import pytest

from data_pipelines.html_text import html_text


@pytest.mark.parametrize("page, text", [
    ("<p>One</p><p>Two &amp; <b>three</b></p>", "One\nTwo & three"),
    ("a<br>b<br/><br/>c", "a\nb\n\nc"),
    ("<script>var x = '<p>no</p>';</script>yes<style>p{}</style>", "yes"),
    ("<head><title>t</title><meta charset=utf-8><body>shown", "shown"),
    ("<p>  many \n\n spaces\t here </p>", "many spaces here"),
    ("<pre>def f():\n    return 1\n</pre>after", "def f():\n    return 1\nafter"),
    ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a\tb\nc"),
    ("un<i>broken</i> word", "unbroken word"),
    ("<ul><li>x<li>y</ul>", "x\ny"),
    ("&eacute;&#8212;&#x4e2d;", "é—中"),
    ("<!-- no --><!DOCTYPE html>text", "text"),
    ("<p>closed</div></p></p>still", "closed\nstill"),
    ("plain text < 3", "plain text < 3"),
    ("", "")])
def test_the_visible_text_is_returned(page, text):
    assert html_text(page) == text


def test_a_page_cut_anywhere_is_text_or_an_error_of_ours():
    page = '<html><head><script>x</script></head><body><![CDATA[<p a="b>c</p><svg><p>d</body>'
    for end in range(len(page)):
        try:
            assert "x" not in html_text(page[:end]).replace("<", "")
        except ValueError as err:
            assert "broken markup" in str(err)
